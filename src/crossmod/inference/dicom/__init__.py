"""Translated volumes as derived DICOM series, and organs as DICOM SEG."""
