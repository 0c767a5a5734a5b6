"""DICOM series of CT and MR: reading, choosing, laying out, writing."""
