"""A methods section and BibTeX for a paper, written from the cards of the runs."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from crossmod.files import read_json
from crossmod.html.format import count, from_to, listed
from crossmod.report.collect import Card, family_name
from crossmod.report.experiment.data import Experiment, ReadRun, effect_of
from crossmod.report.experiment.paper import cards_of_segmenters
from crossmod.settings import pixel_words
from crossmod.version import __version__

# Keys of references.bib: always cited, of MONAI, and by network of MONAI.
ALWAYS = (
    *("rafiq2025", "zhu2017cyclegan", "huo2018essnet", "ronneberger2015unet", "kavur2021chaos"),
    "nadeau2003inference",
)
MONAI = "cardoso2022monai"
NETWORKS = {
    "dynunet": "isensee2021nnunet",
    "attention_unet": "oktay2018attention",
    "swin_unetr": "hatamizadeh2022swin",
    "segresnet": "myronenko2018segresnet",
}


def bibtex(networks: Iterable[str]) -> str:
    """Entries for an experiment with these segmentation networks; MONAI and its networks only if they were used."""
    text = (Path(__file__).parent / "references.bib").read_text(encoding="utf-8").replace("VERSION", __version__)
    entries = {entry.partition("{")[2].partition(",")[0]: entry for entry in text.strip().split("\n\n")}
    used = [NETWORKS[name] for name in dict.fromkeys(networks) if name in NETWORKS]
    keys = [*ALWAYS, *([MONAI, *used] if used else []), "crossmod"]
    return "\n\n".join(entries[key] for key in keys) + "\n"


LOSSES = {"cross_entropy": "cross-entropy", "dice_cross_entropy": "soft Dice and cross-entropy"}
TABLES = ("results.csv", "organs.csv", "runs.csv", "findings.json")


def for_papers(experiment: Experiment) -> dict[str, object]:
    """The methods paragraphs, the references, and the names of the tables with all numbers."""
    paragraphs = [
        _data(experiment),
        *(_translator(experiment, name, list(runs.values())) for name, runs in experiment.synthesized.items()),
        *(_segmenter(name, cards) for name, cards in cards_of_segmenters(experiment).items()),
        _arms(experiment),
        _statistics(experiment),
        _software(experiment),
    ]
    return {
        "methods": "\n\n".join(paragraphs),
        "bibtex": bibtex(run.card["settings"]["network"] for run in experiment.segmenters.values()),
        "tables": [name for name in TABLES if (experiment.root / name).is_file()],
    }


def _data(experiment: Experiment) -> str:
    found, cards = experiment.findings, [run.card for run in experiment.segmenters.values()]
    target = found["target"].upper()
    settings = cards[0]["settings"] if cards else {}
    size = settings.get("size", "?")
    sides = {
        side: from_to(card["data"][f"{side}_slices"] for card in cards if card["data"][f"{side}_slices"])
        for side in ("train", "test")
    }
    if found["leaking"]:
        split = (
            f"{count(settings.get('test_slices', 0), 'slice')} were held out for testing; other slices of the same "
            "patients were trained on, so that scores do not carry over to new patients"
        )
    else:
        folds, tested = settings.get("folds", len(found["folds"])), found["folds"]
        which = "each was tested on once" if len(tested) == folds else f"tested on: {', '.join(map(str, tested))}"
        divided = f"divided into {folds} folds (split seed {settings.get('split_seed', 0)}); {which}"
        if settings.get("test_patients"):
            divided = f"divided into named test patients ({', '.join(settings['test_patients'])}) and all others"
        split = (
            f"The patients with {target} were {divided}. Neither translators nor segmenters were trained on any "
            "image of a patient that they were tested on"
        )
    were = "were" if experiment.several_organs else "was"
    return (
        f"Data. [Name the data set.] The {found['organ']} {were} segmented in {target} of "
        f"{count(len(found['patients']), 'test patient')}. {split}. Segmenters were trained on "
        f"{sides['train'] or 'no'} real slices, and tested on {sides['test']} (per fold). Slices have {size} x {size} "
        f"pixels ({pixel_words(settings)}); intensities of MR were scaled between percentiles "
        f"{_pair(settings.get('percentiles'))} of the volume, CT between {_pair(settings.get('window'))} HU."
    )


def _pair(values: Sequence[float | int] | None) -> str:
    return " and ".join(f"{value:g}" for value in values or ())


def _translator(experiment: Experiment, name: str, runs: Sequence[ReadRun]) -> str:
    card = runs[0].card
    if not card["parameters"]:
        return _control(name, card["family"])
    s, data = card["settings"], [run.card["data"] for run in runs]
    sides = "; ".join(
        f"{side.upper()}: {from_to(each[side]['slices'] for each in data)} slices of "
        f"{from_to(len(each[side]['patients']) for each in data)} patients"
        for side in data[0]
    )
    trainings = count(len({run.path for run in runs}), "training")
    made = [experiment.stores[folder] for folder in experiment.synthesized[name]]
    slices = from_to(sum(case.shape[0] for case in store.cases) for store in made)
    parameters = ", ".join(f"{network} {number:,}" for network, number in card["parameters"].items())
    weights = ", ".join(f"{s[f'lambda_{i}']:g}" for i in range(1, 6 if "S" in card["parameters"] else 5))
    decay = f", falling to 0 over the last {s['decay']:.0%}" if s["decay"] else ""
    stack = f"stacks of {s['stack']} slices, {card['stack_mm']:.1f} mm apart; " if card.get("stack_mm") else ""
    best = "; the epoch with the best score on held-out patients was used" if s["select_every"] else ""
    return (
        f"Translator {name}. {family_name(card['family'])} ({trainings}; {sides}): {stack}"
        f"generators with {s['generator_blocks']} residual blocks and {s['generator_filters']} filters, "
        f"patch discriminators with {s['discriminator_layers']} strided layers; parameters: {parameters}. "
        f"Adversarial loss: {s['adversarial'].replace('_', ' ')}; weights lambda 1 to {weights.count(',') + 1}: "
        f"{weights}. Adam (beta 1 {s['beta_1']:g}), learning rate {s['learning_rate']:g} for generators"
        f"{' and segmentor' if 'S' in card['parameters'] else ''} and {s['discriminator_learning_rate']:g} for "
        f"discriminators{decay}; batch size {s['batch_size']}, {count(s['epochs'], 'epoch')} "
        f"({from_to(run.card['steps'] for run in runs)} steps){best}. Each training made {slices} labelled synthetic "
        f"slices, of source patients that are not tested on."
    )


def _control(name: str, family: str) -> str:
    how = {
        "source": "the labelled source slices as they are, scaled as the input of the translators",
        "histogram": "source slices with the histogram of the target's training slices",
        "fda": "source slices with the low-frequency amplitudes of the target (Yang and Soatto 2020)",
        "random_contrast": "source slices after random shallow networks (GIN, Ouyang et al. 2022)",
        "class_contrast": "source slices with random curves for each label (SLAug, Su et al. 2023)",
        "painted": "slices painted from the source's tissues and labels (after SynthSeg, Billot et al. 2023)",
    }.get(family, "source slices with other intensities")
    return f"Control {name}. No network: {how}, of the same source patients as those of the translators."


def _segmenter(name: str, cards: Sequence[Card]) -> str:
    s = cards[0]["settings"]
    optimiser = f"AdamW, weight decay {s['weight_decay']:g}" if s.get("weight_decay") else "Adam"
    extra = [f"{s['schedule']} schedule"] if s.get("schedule", "constant") != "constant" else []
    extra += [f"running averages of weights ({s['ema']:g})"] if s.get("ema") else []
    extra += ["strong augmentation"] if s.get("strong_augment") else ["augmentation"] if s.get("augment") else []
    extra += [f"augmentation {s['augmentation']}"] if s.get("augmentation") else []
    extra += ["batch norm adapted to unlabelled images (AdaBN, Li et al. 2016)"] if s.get("adapt_batch_norm") else []
    steps = from_to(card["steps"] for card in cards)
    long = f"{steps} steps" if s.get("steps") else f"{count(s['epochs'], 'epoch')} ({steps} steps)"
    return (
        f"Segmenter {name}. Network {s['network']} ({cards[0]['parameters']:,} parameters), loss "
        f"{LOSSES.get(s.get('loss', 'cross_entropy'), s.get('loss'))}, {optimiser}, learning rate "
        f"{s['learning_rate']:g}, batch size {s['batch_size']}, {', '.join([long, *extra])}. Trained "
        f"on {_which(s['train_on'])}, tested on {_which(s['test_on'])}."
    )


def _which(slices: str) -> str:
    return "all slices" if slices == "all" else "slices that show the organ"


def _arms(experiment: Experiment) -> str:
    found = experiment.findings
    names = "; ".join(arm["name"] for arm in experiment.arms)
    return (
        f"Arms. {names}. Each was trained once for each fold and each of {count(len(found['seeds']), 'seed')} "
        f"({', '.join(map(str, found['seeds']))}): {count(len(experiment.segmenters), 'segmenter')} in all."
    )


def _statistics(experiment: Experiment) -> str:
    return (
        "Statistics. The main score is Dice of all tested slices of a patient as one volume (3D)"
        f"{_mean(experiment)}. Arms were compared with their baseline by paired differences of patients, averaged over "
        "seeds; 95 % confidence intervals and two-sided p values are by Student's t, "
        f"{_variance(experiment)}. p values were corrected by Holm's procedure "
        "over all arms with the same baseline; those of all other scores by Holm's procedure over all of these scores "
        "and arms, and nothing was called shown by them where 3D Dice did not show an effect of the arm. An effect was "
        "called shown if the interval excludes 0 and the corrected p value is below 0.05, with two seeds and two "
        "patients or more; if some patients have no defined score, also with these counted as the worst score. Arms "
        "were not compared where the numbers of such patients differ significantly (McNemar's test), or where the "
        "baseline finds the organ no better than the best mask that is the same in every slice, or its loss had not "
        "stopped falling. Intervals of single arms are Student's t over patients. Surface distances (HD95, ASSD, MSSD) "
        "are in mm between voxels with background across a face, and RAVD is the difference of the volumes in percent "
        f"of the true one, as in CHAOS (Kavur et al. 2021). {_controls(experiment)}{_scope(experiment)}"
    ).strip()


def _mean(experiment: Experiment) -> str:
    return ", averaged over the organs; so are all other scores of a patient" if experiment.several_organs else ""


def _controls(experiment: Experiment) -> str:
    tests = [found["tests"] for arm in experiment.arms if (found := arm.get("controls"))]
    if not tests:
        return ""
    return (
        "Each arm of a translator was compared with each control of the same count in the same way, with Holm's "
        f"procedure over all comparisons of arms with the same baseline ({max(tests)}). "
    )


def _variance(experiment: Experiment) -> str:
    folds = len(experiment.findings["folds"])
    if folds < 2:
        return "with the variance of patients and runs"
    return (
        f"with the variance between the means of the {folds} folds ({folds - 1} degrees of freedom), increased for "
        "their overlapping training sides (Nadeau and Bengio 2003)"
    )


def _scope(experiment: Experiment) -> str:
    """The scope of the verdicts, unless it is synthetic slices in general."""
    shared: dict[str, list[str]] = {}
    for arm in experiment.compared:
        for what in effect_of(arm).get("shared", ()):
            shared.setdefault(what, []).append(arm["name"])
    if not shared:
        return ""
    parts = "; ".join(f"{what} ({listed(names)})" for what, names in shared.items())
    return (
        f"Synthetic slices of different folds share: {parts}. The results are of these trained translators, and not of "
        "synthetic slices in general."
    )


def _software(experiment: Experiment) -> str:
    everything = [*experiment.translators.values(), *experiment.segmenters.values()]
    # Controls compute nothing to speak of.
    runs = [run for run in everything if run.card["steps"]]
    devices = listed(dict.fromkeys(str(run.card["device"]) for run in runs if run.card.get("device")))
    precisions = listed(dict.fromkeys(str(run.card["compute"]) for run in runs if run.card.get("compute")))
    versions = _versions(runs)
    text = f"Software. crossmod {experiment.plan.get('crossmod', '')}".rstrip()
    text += f" with {versions}" if versions else ""
    text += f", on {devices}" if devices else ""
    return text + (f" ({precisions})." if precisions else ".")


def _versions(runs: Iterable[ReadRun]) -> str:
    """Versions of Python and the numerical packages, of the first run that recorded them."""
    for run in runs:
        path = run.path / "environment.json"
        if path.is_file():
            content = read_json(path)
            packages = content.get("packages", {})
            names = {"torch": "PyTorch", "numpy": "NumPy", "scipy": "SciPy"}
            parts = [f"Python {content['python']}"] if content.get("python") else []
            return ", ".join([*parts, *(f"{name} {packages[key]}" for key, name in names.items() if key in packages)])
    return ""
