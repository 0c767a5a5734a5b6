"""What Crespi et al. print, as data: Tables 2 and 3 (Leveraging Multimodal CycleGAN for the Generation of Anatomically
Accurate Synthetic CT Scans from MRIs).
"""

SOURCE = "Crespi et al., Tables 2 and 3"
SURVEYS = ("In'n'out", "All-in", "Triple", "In'n'out HUM")
# Survey 1 to 4.
READERS = (11, 8, 6, 6)

# Table 2: percent correct of all scans, of the real, of the synthetic ones.
TABLE_2 = ((51.8, 49.0, 51.6), (59.9, 66.7, 53.5), (57.5, 59.3, 55.6), (52.3, 55.4, 47.3))

# Table 3: p of the binomial and of the multinomial test; first surveys alone, then all, then by pairs.
WITHIN = ((0.933, 0.478), (0.027, 0.000), (0.178, 0.175), (0.930, 1.000))
OVER_ALL = (0.045, 0.057)
PAIRS = {
    (0, 1): (0.185, 0.022),
    (0, 2): (0.625, 0.916),
    (0, 3): (0.387, 1.000),
    (1, 2): (0.582, 0.079),
    (1, 3): (0.044, 0.040),
    (2, 3): (0.848, 0.892),
}

# Not printed, but worked back from what is: by survey, answers (real, synthetic) to real and to synthetic scans. Of all
# counts tried, with up to 25 answers left out a class, they alone give Table 3's binomial p-values, with Yates'
# correction; all but survey 2 against 4, 0.833 where 0.044 is printed. They give Table 2's shares of real and of
# synthetic scans but for survey 1's 51.6 (52.6), and its shares of all scans for survey 2 alone (else 50.8, 57.4 and
# 51.4). "Cannot tell" was left out, then: of 80 answers no whole number is 66.7 %.
COUNTS = (((49, 51), (45, 50)), ((44, 22), (33, 38)), ((32, 22), (24, 30)), ((31, 25), (29, 26)))
