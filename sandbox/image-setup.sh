# Turns a minimal Debian into the plain server that people have: reachable over SSH, with sudo.
# Runs inside the new root directory. Nothing here is needed by the application: roles bring that.
useradd --create-home --shell /bin/bash ansible
echo 'ansible ALL=(ALL:ALL) NOPASSWD: ALL' > /etc/sudoers.d/ansible
# sudo cannot restore the limit of core files that it lowers, and would say so at every task.
echo 'Defaults rlimit_core=default' > /etc/sudoers.d/core
chmod 0440 /etc/sudoers.d/ansible /etc/sudoers.d/core
# Debian 11's sudo does not know the setting, and would report it at every task.
visudo --check --quiet --file=/etc/sudoers.d/core || rm /etc/sudoers.d/core

# Every host gets keys of its own, and the controller knows them beforehand.
rm -f /etc/ssh/ssh_host_*
cat > /etc/ssh/sshd_config.d/sandbox.conf <<'EOF'
AuthorizedKeysFile /etc/ssh/authorized_keys/%u
PasswordAuthentication no
HostKey /etc/ssh/ssh_host_ed25519_key
EOF
mkdir -p /etc/systemd/system/ssh.service.d
cat > /etc/systemd/system/ssh.service.d/logins.conf <<'EOF'
# sshd answers only when logins are allowed: /run/nologin is gone by then.
[Unit]
After=systemd-user-sessions.service
EOF

# The installer of Debian writes it.
echo 'LANG=C.UTF-8' > /etc/default/locale

# They would hold apt's lock at random times.
systemctl mask apt-daily.timer apt-daily-upgrade.timer e2scrub_all.timer
mkdir -p /var/log/journal

cat > /usr/local/sbin/sandbox-init <<'EOF'
#!/bin/sh
# What the kernel does on a server and does not do in a container, then the real init.
# A boot id per boot: ansible.builtin.reboot and `journalctl --boot` compare it (as systemd-nspawn does).
cat /proc/sys/kernel/random/uuid > /run/boot_id
mount --bind -o ro /run/boot_id /proc/sys/kernel/random/boot_id
# Network settings belong to the container, so they may be written; the others belong to the controller.
mount --bind /proc/sys/net /proc/sys/net && mount -o remount,bind,rw /proc/sys/net
# systemd mounts the credentials of a service in a namespace, and needs to see them outside of it.
mount --make-rshared /
# podman lets everybody write here, and Debian does not.
chmod 0755 /run
# podman puts memory here; Debian keeps the journal over a reboot, and decides itself about /tmp.
umount /var/log/journal /tmp
exec /sbin/init
EOF
chmod 0755 /usr/local/sbin/sandbox-init
