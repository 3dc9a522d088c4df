"""« Est-ce que ça s'entraîne ? » : un verdict en français, avec ses preuves, tiré de l'historique et d'échantillons.

Les seuils sont des règles empiriques, réglées sur de petits entraînements (points, chiffres) ; ils peuvent se tromper.
"""

import math
import textwrap
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

from gan_course.engine.numbers import french
from gan_course.losses import Loss, Reading, find_loss
from gan_course.metrics import density_coverage, precision_recall

MIN_STEPS = 100  # en deçà, le dernier quart compte moins de 25 pas : le hasard des lots y domine
MIN_SAMPLES = 16  # en deçà, une distance moyenne entre échantillons ne dit rien de leur loi
MAX_SAMPLES = 512  # les distances deux à deux coûtent N² : cela suffit et reste instantané
D_WINS = 0.98  # D(x) au-dessus et D(G(z)) au-dessous de 1 - 0,98 : D ne se trompe plus assez pour guider G
G_WINS_GAP = 0.1  # D juge les faux plus vrais que les vrais, de 10 points : il est constamment dupé
G_WINS_LEVEL = 0.75  # D déclare vrais les faux, trois fois sur quatre, quoi qu'il pense des vrais
EXPLODED = 100.0  # perte médiane du dernier quart, et dix fois celle du deuxième : elle s'échappe
CRITIC_RUNAWAY = 3.0  # l'écart du critique a triplé depuis le deuxième quart : G décroche
LOW_DIVERSITY = 0.4  # distance moyenne entre faux, rapportée à celle entre vrais
DUPLICATE = 0.1  # deux faux dix fois plus proches que deux vrais voisins (médiane) : quasi identiques
MANY_DUPLICATES = 0.4  # deux faux sur cinq ont un double
NEIGHBOURS = 5  # rayon d'une vraie image : la distance à sa cinquième voisine (Naeem et al., 2020, § 3)
FAITHFUL, FORGOTTEN = 0.5, 0.6  # des faux fidèles (> 0,5) qui laissent plus de 60 % des vrais sans voisin
FAR, NEVER_NEAR = 1.25, 0.1  # du bruit : plus loin d'un vrai, d'un quart, qu'un vrai de son voisin ; 10 % au plus près
NO_RECALL = 0.05  # presque aucun vrai au milieu des faux : le nuage des faux est ailleurs, ou minuscule
MANY_SAMPLES = 128  # en deçà, la couverture d'images dépend trop du tirage pour trancher

ADVICE = {
    "trop tôt": f"Attendez au moins {MIN_STEPS} pas, puis redemandez un diagnostic.",
    "apprend": "Continuez, et jugez sur les images : les pertes d'un GAN ne mesurent pas leur qualité.",
    "discriminateur gagne": "Freinez D : pas d'apprentissage plus petit, pénalité R1 ou de gradient, "
    "étiquettes lissées (real_label=0.9), ou perte non saturante si vous étiez en minimax.",
    "générateur gagne": "Renforcez D : pas d'apprentissage plus grand, réseau plus large, critic_steps plus "
    "élevé ; vérifiez aussi que les vraies images sont bien dans [-1, 1].",
    "effondrement": "Revenez à un point de reprise antérieur, puis ajoutez une pénalité (R1, gradient), "
    "changez de perte (relativistic, wasserstein) ou baissez le pas d'apprentissage de G.",
    "bruit": "Les faux ne ressemblent à aucun vrai : attendez, si l'entraînement commence ; sinon vérifiez que G "
    "reçoit une pente (D trop fort, pas d'apprentissage nul) et que faux et vrais sont à la même échelle.",
    "divergence": "Repartez du dernier point de reprise avec un pas d'apprentissage divisé par 2 à 10, une "
    "pénalité, ou une précision float32.",
}
BLIND = (
    "(Règles empiriques, réglées sur de petits entraînements. Ce diagnostic ne voit ni une classe oubliée sur dix, ni "
    "des copies du jeu, ni le flou : en cas de doute, les échantillons ont raison.)"
)


@dataclass(frozen=True)
class Diagnosis:
    """Verdict (une clé de ADVICE), preuves chiffrées et conseil ; `print` les montre en français."""

    verdict: str
    evidence: list[str]
    advice: str

    def __str__(self) -> str:
        lines = [f"Diagnostic : {self.verdict}", *(f"– {fact}" for fact in self.evidence)]
        lines += [f"Conseil : {self.advice}", BLIND]
        return "\n".join(textwrap.fill(line, 100, subsequent_indent="  ") for line in lines)


def diagnose(
    history: Mapping,
    fakes: Tensor | None = None,
    reals: Tensor | None = None,
    loss: str | Loss | Callable = "non_saturating",
) -> Diagnosis:
    """Verdict sur un entraînement : « apprend », « discriminateur gagne », « générateur gagne », « bruit »,
    « effondrement », « divergence » ou « trop tôt ».

    history : l'historique de train(), ou tout dictionnaire de tableaux (S,) d_loss, g_loss, d_real et d_fake
    (scores moyens, en logits). fakes, reals : échantillons de même forme, (N, C, H, W) dans [-1, 1] (uint8
    accepté) ou points (N, 2), au moins 16 de chaque ; si le générateur est conditionnel, tirez les classes
    comme dans les données ; 200 suffisent à voir qu'une classe est seule. Sans eux, l'effondrement ne se voit pas.
    loss : la perte de la recette, qui dit comment lire les scores (Loss.read) ; ceux d'un critique de Wasserstein
    n'ont pas d'échelle, seule leur évolution compte.

    Les seuils sont les constantes du module. La première règle satisfaite donne le verdict, dans l'ordre :
    divergence, trop tôt, bruit, effondrement, discriminateur, générateur. Lève ValueError si une entrée ne convient
    pas.
    """
    read = find_loss(loss).read
    series = {name: read_series(history, name)[1] for name in ("d_loss", "g_loss", "d_real", "d_fake")}
    findings = _divergence(series)
    steps = len(series["d_loss"])
    if not findings and steps < MIN_STEPS:
        return Diagnosis("trop tôt", [f"{steps} pas seulement dans l'historique"], ADVICE["trop tôt"])
    facts: list[str] = []
    if not findings:
        if fakes is None and reals is None:
            facts.append("diversité non mesurée : donnez fakes et reals pour la connaître")
        else:
            findings += _collapse(fakes, reals, facts)
        findings += _balance(series, read, facts) if read else _critic_gap(series, facts)
    # Un D qui gagne et un G effondré vont souvent ensemble : le premier donne le verdict, chacun son conseil.
    verdicts = list(dict.fromkeys(verdict for verdict, _ in findings)) or ["apprend"]
    advice = " ".join(ADVICE[verdict] for verdict in verdicts)
    return Diagnosis(verdicts[0], [reason for _, reason in findings] + facts, advice)


def read_series(history: Mapping, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Numéros de pas et mesures (S,) d'un historique de train() ou d'un dictionnaire de tableaux.

    Lève ValueError si la mesure manque, est vide ou n'a pas un nombre par pas.
    """
    if not isinstance(history, Mapping):
        raise TypeError(f"{type(history).__name__} reçu ; il faut un historique, par exemple progress.history.")
    if name not in history:
        raise ValueError(
            f"L'historique ne contient pas « {name} » ; il contient : {', '.join(history) or 'rien'}."
        )
    try:
        values = np.asarray(history[name], dtype=np.float64)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ValueError(
            f"« {name} » ne contient pas que des nombres ({error}). Gardez loss.item() plutôt que le tenseur loss."
        ) from error
    steps = getattr(history, "steps", None)
    if steps is None:
        steps = history["steps"] if "steps" in history else np.arange(1, values.size + 1)
    steps = np.asarray(steps)
    if values.ndim != 1 or values.shape != steps.shape:
        raise ValueError(
            f"« {name} » est de forme {values.shape} pour {steps.size} pas ; il faut une mesure par pas."
        )
    if values.size == 0:
        raise ValueError("L'historique est vide : entraînez au moins un pas avant de le regarder.")
    return steps, values


def moving_average(values: np.ndarray, fraction: float = 0.02) -> np.ndarray:
    """Moyenne glissante centrée (S,), sur une fenêtre de `fraction` des mesures ; un NaN reste un trou.

    Aux bords, la moyenne se fait sur ce qu'il y a.
    """
    window = max(1, int(fraction * len(values)))
    # Par sommes cumulées, le coût ne dépend pas de la fenêtre.
    sums = np.concatenate([[0.0], np.nancumsum(values)])
    counts = np.concatenate([[0.0], np.cumsum(np.isfinite(values))])
    index = np.arange(len(values))
    low, high = np.maximum(index - window // 2, 0), np.minimum(index + (window + 1) // 2, len(values))
    with np.errstate(invalid="ignore"):
        smooth = (sums[high] - sums[low]) / (counts[high] - counts[low])
    return np.where(np.isfinite(values), smooth, np.nan)


def _divergence(series: dict[str, np.ndarray]) -> list[tuple[str, str]]:
    """Pertes qui cessent d'être des nombres, ou s'échappent."""
    found = []
    for name, who in (("d_loss", "D"), ("g_loss", "G")):
        bad = np.flatnonzero(~np.isfinite(series[name]))
        if bad.size:
            value = french(series[name][bad[0]])
            found.append(("divergence", f"la perte de {who} vaut {value} à la {bad[0] + 1}ᵉ mesure"))
            continue
        before, last = (float(np.median(np.abs(q))) for q in _quarters(series[name]))
        if last > max(EXPLODED, 10 * before):
            reason = (
                f"la perte de {who} atteint {french(last)} en fin d'historique, contre {french(before)} avant"
            )
            found.append(("divergence", reason))
    return found


def _quarters(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Deuxième et dernier quarts : le premier est toujours agité."""
    quarter = max(1, len(values) // 4)
    return values[quarter : 2 * quarter] if len(values) > quarter else values, values[-quarter:]


def _balance(series: dict[str, np.ndarray], read: Reading, facts: list[str]) -> list[tuple[str, str]]:
    """Qui de D ou de G l'emporte, sur le dernier quart, quand les scores ont une échelle."""
    real, fake = read(_quarters(series["d_real"])[1], _quarters(series["d_fake"])[1])
    real, fake = float(real.mean()), float(fake.mean())
    notes = f"{french(real)} aux vrais et {french(fake)} aux faux"
    reason = f"sur le dernier quart, D donne {notes} (1 : vrai, 0 : faux)"
    if real >= D_WINS and fake <= 1 - D_WINS:
        return [("discriminateur gagne", f"{reason} : il ne se trompe presque plus")]
    if fake - real >= G_WINS_GAP or fake >= G_WINS_LEVEL:
        return [("générateur gagne", f"{reason} : il est dupé")]
    facts.append(reason)
    if abs(real - fake) < 0.02:
        facts.append("D ne sépare plus vrais et faux : équilibre, ou D trop faible ; les images tranchent")
    return []


def _critic_gap(series: dict[str, np.ndarray], facts: list[str]) -> list[tuple[str, str]]:
    """Évolution de la distance estimée par un critique, D(x) - D(G(z)), du deuxième quart au dernier."""
    before, last = (float(q.mean()) for q in _quarters(series["d_real"] - series["d_fake"]))
    reason = f"l'écart du critique, D(x) − D(G(z)), passe de {french(before)} à {french(last)}"
    if last < 0:
        return [("générateur gagne", f"{reason} : le critique note les faux au-dessus des vrais")]
    if before > 0 and last > CRITIC_RUNAWAY * before:
        return [("discriminateur gagne", f"{reason} : le générateur décroche")]
    facts.append(reason)
    return []


def _collapse(fakes: Tensor | None, reals: Tensor | None, facts: list[str]) -> list[tuple[str, str]]:
    """Compare la diversité des faux à celle des vrais."""
    fakes, reals = _paired(fakes, reals)
    spread = float(torch.pdist(reals).mean())
    if spread == 0:
        raise ValueError(
            "Les vrais échantillons sont tous identiques : leur diversité ne peut servir de référence."
        )
    ratio = float(torch.pdist(fakes).mean()) / spread
    near_real = torch.cdist(reals, reals).fill_diagonal_(math.inf).min(dim=1).values
    near_fake = torch.cdist(fakes, fakes).fill_diagonal_(math.inf).min(dim=1).values
    twins = float((near_fake < DUPLICATE * near_real.median()).float().mean())
    precision, recall = precision_recall(reals, fakes, NEIGHBOURS)
    coverage = density_coverage(reals, fakes, NEIGHBOURS).coverage
    far = float(torch.cdist(fakes, reals).min(dim=1).values.median() / near_real.median())
    images = fakes.shape[1] > 2  # et non des points du plan
    if images and far > FAR and precision < NEVER_NEAR:
        text = (
            f"un faux est {french(far)} fois plus loin du vrai le plus proche qu'un vrai de son voisin (seuil "
            f"{french(FAR)}), et {french(100 * precision, 0)} % tombent près d'un vrai (seuil {100 * NEVER_NEAR:.0f} %)"
        )
        return [("bruit", text)]
    # Un faux flou est proche de tout : sur des images, seule la couverture accuse, et s'il y a assez d'échantillons.
    judged = len(fakes) >= MANY_SAMPLES if images else precision > FAITHFUL
    reasons = [
        (
            ratio < LOW_DIVERSITY,
            f"distance moyenne entre faux : {french(ratio)} fois celle entre vrais (seuil {french(LOW_DIVERSITY, 1)})",
        ),
        (
            twins > MANY_DUPLICATES,
            f"{french(100 * twins, 0)} % des faux ont un double (seuil {100 * MANY_DUPLICATES:.0f} %)",
        ),
        (
            images and recall < NO_RECALL,
            f"{french(100 * recall, 0)} % des vrais sont au milieu des faux (seuil {100 * NO_RECALL:.0f} %)",
        ),
        (
            judged and coverage < 1 - FORGOTTEN,
            f"{french(100 * precision, 0)} % des faux tombent près d'un vrai, mais {french(100 * coverage, 0)} % des "
            f"vrais ont un faux près d'eux (seuil {100 * (1 - FORGOTTEN):.0f} %)",
        ),
    ]
    facts += [text.replace(", mais ", " ; ") for hit, text in reasons if not hit]
    if images and len(fakes) < MANY_SAMPLES:
        few = f"{len(fakes)} échantillons : trop peu pour voir une classe oubliée"
        facts.append(f"{few} ; donnez-en {MANY_SAMPLES} au moins")
    return [("effondrement", text) for hit, text in reasons if hit]


def _paired(fakes: Tensor | None, reals: Tensor | None) -> tuple[Tensor, Tensor]:
    """Autant de faux que de vrais, en vecteurs ; ValueError s'ils ne se comparent pas."""
    if fakes is None or reals is None:
        raise ValueError(
            "La diversité se mesure contre de vrais échantillons : donnez fakes et reals ensemble."
        )
    fakes, reals = _vectors(fakes, "fakes"), _vectors(reals, "reals")
    if fakes.shape[1] != reals.shape[1]:
        raise ValueError(
            "fakes et reals n'ont pas la même forme par échantillon : comparez des images semblables."
        )
    size = min(len(fakes), len(reals), MAX_SAMPLES)
    # Pris à intervalles réguliers : les premiers d'un jeu trié par classe seraient trop semblables.
    fakes, reals = (v[torch.linspace(0, len(v) - 1, size).round().long()] for v in (fakes, reals))
    return fakes, reals


def _vectors(samples: Tensor, name: str) -> Tensor:
    """Échantillons en vecteurs (N, D) ; les images réduites à 16 px, l'œil juge la diversité à cette échelle.

    Le contraste des images est ramené à 1 : au début, des faux gris se ressemblent sans s'être effondrés.
    """
    if not isinstance(samples, Tensor) or samples.dim() not in (2, 4) or samples.numel() == 0:
        shape = tuple(samples.shape) if isinstance(samples, Tensor) else type(samples).__name__
        raise ValueError(
            f"{name} : {shape} reçu ; il faut un tenseur (N, C, H, W) d'images ou (N, 2) de points."
        )
    if len(samples) < MIN_SAMPLES:
        raise ValueError(
            f"{name} ne compte que {len(samples)} échantillons ; donnez-en au moins {MIN_SAMPLES}."
        )
    values = samples.detach().cpu()
    values = values.float() / 127.5 - 1 if values.dtype == torch.uint8 else values.float()
    if not bool(values.isfinite().all()):
        raise ValueError(
            f"{name} contient NaN ou l'infini : le générateur a divergé, ou les données sont abîmées."
        )
    if values.dim() == 2:
        return values
    values = adaptive_avg_pool2d(values, (min(16, values.shape[2]), min(16, values.shape[3]))).flatten(1)
    values = values - values.mean(dim=1, keepdim=True)
    return values / values.std(dim=1, keepdim=True).clamp_min(0.05)
