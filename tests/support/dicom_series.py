"""What reading a folder of DICOM series raises."""

import re

import pytest

from crossmod.errors import InputError


def raises(*words):
    """An InputError whose message holds each word, in this order."""
    return pytest.raises(InputError, match="(?s)" + ".*".join(re.escape(str(word)) for word in words))
