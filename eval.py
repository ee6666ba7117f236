"""python eval.py ...: the same as the installed command dfd-eval."""

from dfd.cli.eval import main

if __name__ == "__main__":
    main()
