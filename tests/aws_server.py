#!/usr/bin/python3
"""Debian's awscli without its start-up: it is imported once, and each command is a fork of that process, with the arguments,
environment, directory and descriptors of whoever asked. `aws` is then a small program that hands those over.

As a program, the process that forks: aws_server.py SOCKET [stub]; stub: aws_stub.py in the place of the service. It ends when
its standard input does. Imported: start(directory, stub) makes DIRECTORY/aws."""

import array
import atexit
import functools
import json
import os
import select
import signal
import socket
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
CLIENT = """#!/usr/bin/python3 -IS
import array, json, os, socket, sys
with socket.socket(socket.AF_UNIX) as s:
    s.settimeout(200)
    s.connect({path!r})
    asked = json.dumps([sys.argv[1:], dict(os.environ), os.getcwd()]).encode()
    s.sendmsg([len(asked).to_bytes(4, "big")], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [0, 1, 2]))])
    s.sendall(asked)
    answer = s.recv(1)
sys.exit(answer[0] if answer else 99)
"""


def start(directory, stub=False):
    os.makedirs(directory, exist_ok=True)
    path = os.path.abspath(f"{directory}/socket")
    with open(f"{directory}/aws", "w", encoding="ascii") as f:
        f.write(CLIENT.format(path=path))
    os.chmod(f"{directory}/aws", 0o755)
    server = subprocess.Popen(["/usr/bin/python3", os.path.abspath(__file__), path, *(["stub"] if stub else [])],
                              stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    atexit.register(server.kill)
    if server.stdout.readline() != b"ready\n":
        raise RuntimeError("aws_server.py does not start")


def receive(connection):
    """Arguments, environment, directory; and the three descriptors in the place of our own."""
    length, control, _, _ = connection.recvmsg(4, socket.CMSG_SPACE(3 * array.array("i").itemsize))
    given = array.array("i")
    given.frombytes(control[0][2])
    for own, other in enumerate(given):
        os.dup2(other, own)
        os.close(other)
    data = b""
    while len(data) < int.from_bytes(length, "big"):
        data += connection.recv(1 << 16)
    return json.loads(data)


def serve(connection, main):
    """In the fork."""
    code = 98
    try:
        args, environment, directory = receive(connection)
        os.chdir(directory)
        data_path = os.environ["AWS_DATA_PATH"]  # awscli's own, since its import
        os.environ.clear()
        os.environ.update(environment, AWS_DATA_PATH=data_path)
        sys.argv = ["aws", *args]
        code = main()
    except SystemExit as e:
        code = e.code if isinstance(e.code, int) else 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        connection.send(bytes([(code or 0) & 255]))
        os._exit(0)


def prepare(stub):
    """Everything that a command imports, and the models that it reads."""
    import awscli.clidriver  # pylint: disable=import-outside-toplevel
    import botocore.loaders  # pylint: disable=import-outside-toplevel
    loader = botocore.loaders.JSONFileLoader
    loader.load_file = functools.lru_cache(None)(loader.load_file)
    loader.__hash__, loader.__eq__ = lambda self: 0, lambda self, other: isinstance(other, loader)
    # No command is run here: awscrt's threads would not be in the forks.
    awscli.clidriver.create_clidriver().session.get_component("data_loader").load_service_model("iot", "service-2")
    if stub:
        sys.path.insert(0, HERE)
        import aws_stub  # pylint: disable=import-outside-toplevel
        return aws_stub.main
    return awscli.clidriver.main


def main():
    command = prepare("stub" in sys.argv[2:])
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(sys.argv[1])
        listener.listen(64)
        print("ready", flush=True)
        while True:
            ready, _, _ = select.select([listener, sys.stdin], [], [])
            if sys.stdin in ready:
                return 0
            connection, _ = listener.accept()
            if os.fork() == 0:
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                listener.close()
                serve(connection, command)
            connection.close()


if __name__ == "__main__":
    sys.exit(main())
