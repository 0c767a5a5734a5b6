"""Speed: what crossmod's paths win over plain PyTorch on this machine, and what the machine has."""
