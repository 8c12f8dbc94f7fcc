"""`python -m jtransfer` is the command `jtransfer`."""

from jtransfer.cli import program

if __name__ == "__main__":
    program()
