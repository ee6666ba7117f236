"""python preprocess.py ...: the same as the installed command dfd-preprocess."""

from dfd.cli.preprocess import main

if __name__ == "__main__":
    main()
