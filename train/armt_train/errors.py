class TrainError(Exception):
    """Something that the user can mend: the message names the file, option or tensor, and what to do."""
