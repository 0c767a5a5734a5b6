"""What a paper that uses an experiment should cite, as BibTeX."""

from collections.abc import Iterable

from crossmod.version import __version__

ALWAYS = """\
@article{rafiq2025,
  title = {Cross Modality Medical Image Synthesis for Improving Liver Segmentation},
  author = {Rafiq, Muhammad and Ali, Hazrat and Mujtaba, Ghulam and Shah, Zubair and Azmat, Shoaib},
  year = {2025},
  journal = {arXiv preprint arXiv:2503.00945}
}

@inproceedings{zhu2017cyclegan,
  title = {Unpaired Image-to-Image Translation Using Cycle-Consistent Adversarial Networks},
  author = {Zhu, Jun-Yan and Park, Taesung and Isola, Phillip and Efros, Alexei A.},
  booktitle = {Proceedings of the IEEE International Conference on Computer Vision (ICCV)},
  pages = {2223--2232},
  year = {2017}
}

@inproceedings{huo2018essnet,
  title = {Adversarial Synthesis Learning Enables Segmentation without Target Modality Ground Truth},
  author = {Huo, Yuankai and Xu, Zhoubing and Bao, Shunxing and Assad, Albert and Abramson, Richard G. and
            Landman, Bennett A.},
  booktitle = {2018 IEEE 15th International Symposium on Biomedical Imaging (ISBI)},
  pages = {1217--1220},
  year = {2018}
}

@inproceedings{ronneberger2015unet,
  title = {{U-Net}: Convolutional Networks for Biomedical Image Segmentation},
  author = {Ronneberger, Olaf and Fischer, Philipp and Brox, Thomas},
  booktitle = {Medical Image Computing and Computer-Assisted Intervention (MICCAI)},
  pages = {234--241},
  year = {2015}
}

@article{kavur2021chaos,
  title = {{CHAOS} Challenge -- Combined ({CT-MR}) Healthy Abdominal Organ Segmentation},
  author = {Kavur, A. Emre and others},
  journal = {Medical Image Analysis},
  volume = {69},
  pages = {101950},
  year = {2021}
}

@article{nadeau2003inference,
  title = {Inference for the Generalization Error},
  author = {Nadeau, Claude and Bengio, Yoshua},
  journal = {Machine Learning},
  volume = {52},
  pages = {239--281},
  year = {2003}
}
"""

CROSSMOD = """\
@software{{crossmod,
  title = {{crossmod}},
  author = {{{{The crossmod authors}}}},
  version = {{{version}}},
  license = {{Apache-2.0}}
}}
"""

MONAI = """\
@article{cardoso2022monai,
  title = {{MONAI}: An Open-Source Framework for Deep Learning in Healthcare},
  author = {Cardoso, M. Jorge and others},
  year = {2022},
  journal = {arXiv preprint arXiv:2211.02701}
}
"""

# By network, of those that are MONAI's.
NETWORKS = {
    "dynunet": """\
@article{isensee2021nnunet,
  title = {{nnU-Net}: A Self-Configuring Method for Deep Learning-Based Biomedical Image Segmentation},
  author = {Isensee, Fabian and Jaeger, Paul F. and Kohl, Simon A. A. and Petersen, Jens and Maier-Hein, Klaus H.},
  journal = {Nature Methods},
  volume = {18},
  pages = {203--211},
  year = {2021}
}
""",
    "attention_unet": """\
@article{oktay2018attention,
  title = {Attention {U-Net}: Learning Where to Look for the Pancreas},
  author = {Oktay, Ozan and others},
  year = {2018},
  journal = {arXiv preprint arXiv:1804.03999}
}
""",
    "swin_unetr": """\
@inproceedings{hatamizadeh2022swin,
  title = {{Swin UNETR}: Swin Transformers for Semantic Segmentation of Brain Tumors in {MRI} Images},
  author = {Hatamizadeh, Ali and Nath, Vishwesh and Tang, Yucheng and Yang, Dong and Roth, Holger R. and Xu, Daguang},
  booktitle = {Brainlesion: Glioma, Multiple Sclerosis, Stroke and Traumatic Brain Injuries (BrainLes 2021)},
  year = {2022}
}
""",
    "segresnet": """\
@inproceedings{myronenko2018segresnet,
  title = {{3D MRI} Brain Tumor Segmentation Using Autoencoder Regularization},
  author = {Myronenko, Andriy},
  booktitle = {Brainlesion: Glioma, Multiple Sclerosis, Stroke and Traumatic Brain Injuries (BrainLes 2018)},
  year = {2019}
}
""",
}


def bibtex(networks: Iterable[str]) -> str:
    """Entries for an experiment with these segmentation networks; MONAI and its networks only where they were used."""
    used = [NETWORKS[name] for name in dict.fromkeys(networks) if name in NETWORKS]
    return "\n".join([ALWAYS, *([MONAI, *used] if used else []), CROSSMOD.format(version=__version__)])
