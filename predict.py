"""python predict.py ...: the same as the installed command dfd-predict."""

from dfd.cli.predict import main

if __name__ == "__main__":
    main()
