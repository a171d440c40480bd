#!/bin/sh -eu
# Unpacks Debian 12's Python 3.11 into /opt/python3.11, with everything in one folder and named as it is there.
sed 's/trixie/bookworm/g' /etc/apt/sources.list > /etc/apt/sources.list.d/bookworm.list
apt-get update --quiet=2
work=$(mktemp -d)
cd "$work"
chmod 0755 .
chown _apt .
apt-get download --quiet=2 libpython3.11 libpython3.11-minimal libpython3.11-stdlib libpython3.11-dev python3.11-minimal
rm /etc/apt/sources.list.d/bookworm.list
apt-get update --quiet=2
for package in *.deb; do
    dpkg-deb --extract "$package" root
done
cd root/usr
mv lib/*-linux-gnu/libpython3.11.so* lib/
# Debian's own leads to the folder of the machine's architecture.
mv include/*-linux-gnu/python3.11/pyconfig.h include/python3.11/
rm -rf lib/*-linux-gnu include/*-linux-gnu share lib/python3.11/config-* lib/python3.11/sitecustomize.py
install -d /opt/python3.11
mv bin include lib /opt/python3.11/
chown -R root:root /opt/python3.11
rm -rf "$work"
/opt/python3.11/bin/python3.11 -IS -c 'import ssl, venv, zlib'
