"""Files for `prepare`, and a check that a store holds no identity."""

import nibabel
import numpy as np
from nibabel.nifti1 import Nifti1Image

from tests.support.dicom import SECRETS


def everything_in(store) -> bytes:
    return b"".join(path.read_bytes() for path in sorted(store.rglob("*")) if path.is_file())


def assert_no_identity(store, *more):
    content = everything_in(store)
    assert not [secret for secret in (*SECRETS, *more) if secret.encode() in content]
    # Neither as UTF-16, nor anything like a UID.
    assert b"1.2.826" not in content
    assert b"1.2.840" not in content


def save_case(folder, values, labels=None, image="image.nii.gz", label="label.nii.gz"):
    folder.mkdir(parents=True, exist_ok=True)
    picture = Nifti1Image(values, np.diag([1.0, 2.0, 3.0, 1.0]))
    for field in ("descrip", "intent_name", "db_name", "aux_file"):
        picture.header[field] = b"Musterfrau"
    nibabel.save(picture, folder / image)
    if labels is not None:
        nibabel.save(Nifti1Image(labels, picture.affine), folder / label)
