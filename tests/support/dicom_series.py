"""What several tests share, once of `test_dicom_series`."""

import re

import pytest

from crossmod.errors import InputError


def raises(*words):
    """An InputError whose message holds each word, in this order."""
    return pytest.raises(InputError, match="(?s)" + ".*".join(re.escape(str(word)) for word in words))
