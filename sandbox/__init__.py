"""The built-in hosts: containers with systemd as PID 1, reached over real SSH.

They stand in for servers in ``make deploy``, in molecule and in tests. ``python3 -m sandbox --help``
lists the commands. Standard library only: it runs before the project's virtual environment exists.
"""
