"""``python -m meeta_bot``: the same as ``meeta-bot``."""

from meeta_bot.cli import main

if __name__ == "__main__":
    main()
