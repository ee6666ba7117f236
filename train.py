"""python train.py ...: the same as the installed command dfd-train."""

from dfd.cli.train import main

if __name__ == "__main__":
    main()
