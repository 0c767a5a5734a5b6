"""Images of the phantom: one person, any modality."""

from crossmod.phantom.ct import render_ct as render_ct
from crossmod.phantom.mr import render_mr as render_mr
from crossmod.phantom.mr_sources import SEQUENCES as SEQUENCES
from crossmod.phantom.mr_sources import Sequence as Sequence
