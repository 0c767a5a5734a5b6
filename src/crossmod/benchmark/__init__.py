"""Speed: crossmod's gain over plain PyTorch on this machine, and what the machine has."""
