"""Stores of real and synthetic images in, a finished result folder out; and results against one another."""
