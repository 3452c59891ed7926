"""``meeta-bot``, and ``python -m meeta_bot``. Imports nothing heavy, so that Ctrl-C is obeyed while it does."""

import signal
import sys

from meeta_bot import init_process


def main() -> None:
    """Run the command line. Ctrl-C while it is being imported just ends the process: nothing has begun."""
    init_process.divide()
    previous = signal.getsignal(signal.SIGINT)
    if previous is signal.default_int_handler:  # else whoever started us wants it ignored
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        from meeta_bot.cli import main as run
    except Exception as error:  # a package that is broken, or a library of the system that is missing
        sys.exit(_complain(error))
    signal.signal(signal.SIGINT, previous)
    run()


def _complain(error: Exception) -> int:
    """Say that the program can't be imported, without any part of it that may be what is broken; the exit code."""
    from meeta_bot import crash_report

    problem = crash_report.report(error)
    sys.stderr.write(f"error: {problem}\nhint:  {problem.hint}\n")
    return problem.exit_code


if __name__ == "__main__":
    main()
