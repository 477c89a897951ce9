"""`python -m caravan.eval` is `evaluate`, for torchrun."""

from caravan.eval.cli import main

if __name__ == "__main__":
    main()
