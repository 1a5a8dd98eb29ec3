"""Errors a person can act on: each says what is wrong and what to do about it."""


class EfficientFormerError(Exception):
    """A stated failure: the message names the cause and the remedy; the command line exits with 1."""

    exit_code = 1


class UsageError(EfficientFormerError):
    """The request itself cannot be carried out as written; the command line exits with 2."""

    exit_code = 2


class ArchitectureError(EfficientFormerError, ValueError):
    """An architecture that breaks a rule of the EfficientFormer family."""


class DataError(EfficientFormerError):
    """Images or labels that cannot be used."""


class RecordError(EfficientFormerError):
    """A file of a run directory, a table or a weights file that cannot be read or does not fit."""


class LatencyError(EfficientFormerError):
    """A measurement that cannot be made or trusted, or a table that cannot predict."""


class BudgetError(EfficientFormerError):
    """A latency budget that no network of the search space can meet."""


class TrainingError(EfficientFormerError):
    """Training that cannot continue, for example because the loss is not finite."""


class TerminatedError(EfficientFormerError):
    """Training that SIGTERM ended; the command line exits with 143, as a process that the signal ends does."""

    exit_code = 143
