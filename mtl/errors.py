"""The one exception that stands for a mistake of the user's."""


class UserError(Exception):
    """A mistake that the user can mend, told in clear sentences.

    The message names the file or key, what is wrong and what is allowed. The command line prints it
    without a traceback and exits with code 2; raise it before anything has been written.
    """


class RunStopped(Exception):
    """A run that cannot go on, for a cause in its numbers rather than in what the user wrote.

    The command line prints the message without a traceback and exits with code 1.
    """
