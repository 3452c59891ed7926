"""``meeta-bot``, and ``python -m meeta_bot``. Imports nothing heavy, so that Ctrl-C is obeyed while it does."""

import signal


def main() -> None:
    """Run the command line. Ctrl-C while it is being imported just ends the process: nothing has begun."""
    previous = signal.getsignal(signal.SIGINT)
    if previous is signal.default_int_handler:  # else whoever started us wants it ignored
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from meeta_bot.cli import main as run

    signal.signal(signal.SIGINT, previous)
    run()


if __name__ == "__main__":
    main()
