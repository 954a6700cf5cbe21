"""The new notebook 10, from the cells of the old one and new ones: python this OUT.ipynb."""
import json, copy, sys
old = json.load(open("notebooks/10_ablation_do_relations_help.ipynb"))
O = {c["id"]: c for c in old["cells"]}
cells = []
def keep(id, new=None, *pairs):
    c = copy.deepcopy(O[id]); s = "".join(c["source"])
    for a, b in pairs:
        assert s.count(a) == 1, (id, a, s.count(a)); s = s.replace(a, b)
    c["source"] = s.splitlines(keepends=True)
    if new: c["id"] = new
    if c["cell_type"] == "code": c["outputs"] = []; c["execution_count"] = None
    cells.append(c)
def md(id, text): cells.append({"cell_type": "markdown", "id": id, "metadata": {}, "source": text.strip("\n").splitlines(keepends=True)})
def code(id, text, results=False):
    cells.append({"cell_type": "code", "execution_count": None, "id": id, "metadata": {"tags": ["results"]} if results else {}, "outputs": [], "source": text.strip("\n").splitlines(keepends=True)})

md("c01", """
# 10 · Ablation: do relations help?

**After this notebook you can**

- say what the paper's +0.9 and +2.1 points can and cannot show;
- say which controls a relation module needs, and build the strictest of them, its deaf twin;
- compare two models on the same people with a paired interval, and correct for asking many questions;
- say why a null result needs a gate: a world in which the module must succeed;
- read the answer of an experiment whose question was written before its data were drawn.

| | |
|---|---|
| **Minutes** | 50 to read and play, under half a minute to run |
| **Device** | CPU; nothing is trained, stored results are read |
| **Before** | 09; one of 05 to 07 |
| **Paper** | LoRRaL, arXiv 2009.10892: section 4.3, Tables 3 and 4 |
""")
code("c02", """
from lorral_lite.device import share_cores

share_cores()  # before torch is imported: threads that wait leave their core to others

from math import sqrt
from pathlib import Path

import numpy as np

from lorral_lite.course.check import check
from lorral_lite.draw.results import bars, plot_estimates
from lorral_lite.files import data_file, read_json
from lorral_lite.measure.statistics import Estimate
from lorral_lite.model.relations import label_of
from lorral_lite.study import question
""")
c = copy.deepcopy(O["c03"]); c["outputs"] = []; c["source"] = '''run: str = ""  # a finished run folder to judge in 10.3; empty: the weights that ship with lorral-lite
seed: int = 0  # noise, tokens and labels drawn in 10.1, 10.2 and 10.5
people: int = 200  # people whose labels are drawn in 10.5, 50 frames each
trial: str = ""  # results of lorral experiment trial (a folder); empty: those that ship with lorral-lite'''.splitlines(keepends=True); cells.append(c)
keep("check-parameters", None, ('experiment="file"', 'trial="folder"'))
keep("c04")
md("q01", """
## 10.1 The claim

Section 4.3: relations "increase the F1-score of the pipeline … without relation learning modules by 0.9 % and 2.1 % on
BP4D and DISFA". The base rows themselves cannot be recovered; from these two sentences follow means of 62.6 and 59.3.
Below are the gains of all three variants over that.
""")
keep("c40"); keep("c41")
md("q02", """
These dots have no bars, because nothing was printed that a bar could be made from. What to keep in mind:

- **No spread.** One number per variant: no seeds, no intervals. Across repeated ways to cut BP4D+ into three folds,
  mean F1 was reported to move by about ±6.5 points (Hinduja et al. 2026); JAA-Net's own three folds of DISFA lie
  nine points apart. Paired gains move less than levels, but how much less was not reported.
- **Best of three.** The quoted gain is the best of three variants, and it is another variant on each data set. The best
  of three modules that do nothing also gains (exercise 10.1).
- **The base.** It may have had fewer epochs and had fewer weights.
- **Which epoch.** How it was chosen is not stated; the field chooses on the test fold.

None of this says that the gains are not real. It says that these numbers cannot tell.

**Exercise 10.1 ★★★.** Three modules that do *nothing* are each measured with a standard error of 1 point, independently.
What does the best of the three gain, on average?
""")
keep("c38", None, ('check("10.3"', 'check("10.1"'))
keep("c43")
md("q03", """
## 10.2 Three controls

"With a relation module the score is higher" has more than one explanation. The module may use relations between AUs.
Or step 2 simply trained *longer*. Or the network became *larger*, or easier to train. So controls run beside the module,
from the same step 1, with the same batches (D20):

| control | as many epochs | as many weights | same paths and same start | AUs hear each other |
|---|---|---|---|---|
| no relation (`none`) | yes | no | no | no |
| MLP of the module's size (`mlp`) | yes | yes | no | no |
| **deaf twin** | yes | yes | yes | no |
| the module | yes | yes | yes | **yes** |

The deaf twin is the module itself, with the same start and the same batches, in which no AU hears another: attention is
masked to the own token, and an LSTM reads sequences of length 1. `deafen` makes one. Module minus twin is company and
nothing else.

*Predict first:* in a face, another AU's token is exchanged. Which of the two notices?
""")
code("twin-1", """
import torch

from lorral_lite.model.relations import RELATIONS, deafen

tokens = torch.randn(1, 12, 24, generator=torch.Generator().manual_seed(seed))
other = tokens.clone()
other[:, 6] = 0  # AU 12's token is exchanged; AU 7 is at place 4
for name in ("bilstm", "self_attention", "hopfield", "series"):
    torch.manual_seed(seed)
    module = RELATIONS[name](24, 12).eval()
    torch.manual_seed(seed)
    twin = deafen(RELATIONS[name](24, 12).eval())
    with torch.no_grad():
        moved = [not torch.equal(m(tokens)[:, 4], m(other)[:, 4]) for m in (module, twin)]
    print(f"{label_of(name):15} hears AU12: module {moved[0]}, twin {moved[1]}")
    assert moved == [True, False]
""")
code("twin-2", """
sizes = {name: sum(p.numel() for p in RELATIONS[name](24, 12).parameters()) for name in RELATIONS if name != "none"}
bars({"weights": list(sizes.values())}, [label_of(name) for name in sizes], "Weights of the modules at tokens of 24 numbers",
     form="{:,.0f}")
""")
md("q04", """
The modules differ in size, so that one MLP cannot be a control for all of them: in the experiment below every module has
its own, of equal size. (The run in 10.3 has one, as large as self-attention.)

## 10.3 Paired gains, and many questions

The model has two AU outputs. The **AU output** sees everything: global, landmark and local features. What the relation
module passes on is a small part of that. The **local output** sees only what the module passes on. If company helps, it
must show there first.

*Predict first:* which output scores higher, and will the intervals of the six models overlap?
""")
code("c08", """
from lorral_lite.report.results import OUTPUTS, mean_estimates

estimates = mean_estimates(results)
groups = {text: {trained[n]: estimates[n][output] for n in trained} for output, text in OUTPUTS.items()}
plot_estimates(groups, f"Mean F1 with 95 % intervals over people, {results.data_name}", "mean F1 (%)")
""")
md("c09", """
Where two intervals overlap, is the question settled? No: these intervals say how the *level* would move with other
people. Hard people are hard for every model, so the levels move together, and the difference moves less. A **paired**
interval leaves out one person on both sides at once and looks at the difference only.
""")
keep("c10")
keep("c11"); keep("c12"); keep("c13", None, ("**Exercise 10.1 ★.**", "**Exercise 10.2 ★.**")); keep("c14", None, ('check("10.1"', 'check("10.2"'))
keep("c15"); keep("c16"); keep("c17")
md("c18", """
No sentence written in advance can be honest about a run that is not trained yet. These are put together from the numbers
above; read them, not the largest bar.
""")
keep("c19"); keep("c20")
md("q05", """
"Cannot be told apart from 0" is not "is 0". The interval says which gains the data leave open: a bar from `−0.6` to `+0.2`
rules out a gain of a point, and does not rule out a gain of 0.1. And these intervals are over people: train again with
another seed and every gain moves.

## 10.4 The gate: can the module listen at all?

Suppose a module gains nothing. Either company has nothing to tell, or the module was never taught to listen. A null
result says something only if the same module, taught in the same way, succeeds where it *must*. On procedural faces such
a world can be drawn: AU7 does what AU12 does, and all others are independent. Whoever hears AU12 knows AU7 much better
than its own wrinkle shows.

*Predict first:* AU7 is hard to see. By how many points of AUC will a module beat its deaf twin on it?
""")
code("gate-1", """
from lorral_lite.course.ch10_ablation import plot_gate
from lorral_lite.study import teaching

folder = Path(trial) if trial else data_file("results", "trial")
asked, tuning = read_json(folder / "trial.json"), data_file("results", "teaching")
copied = {name: {who: teaching.copied(tuning, arm, asked["schedules"][arm]) for who, arm in
                 (("module", name), ("twin", f"deaf_{name}"))} for name in asked["passed"]}
plot_gate(copied, teaching.GATE)
""")
code("gate-2", """
for name, pair in copied.items():
    gain = np.subtract(pair["module"], pair["twin"])
    rate, epochs = asked["schedules"][name]
    print(f"{label_of(name):15} taught at {rate:g} for {epochs} epochs: "
          + " and ".join(f"{g:+.1f}" for g in gain) + f" points, {'passes' if asked['passed'][name] else 'does not pass'}")
""", True)
md("q06", """
How a module is taught decides this: the first version of this course taught step 2 for 10 epochs at a rate of 0.01, and
every module stayed as deaf as its twin ([the whole grid](../data/results/README.md#which-step-2-lets-the-modules-listen)).
So each module, twin and control has the rate and the number of epochs of the grid that suit it best on other people.

## 10.5 Turning the relations up and down

On real data nobody knows how strongly AUs depend on each other *beyond* what was counted. Procedural people have a
dial: `relation_strength` scales the hidden correlations between AUs from 0 (independent) to 1 (as counted on BP4D).
Each AU keeps its base rate.
""")
for id in ("c22", "c23", "c24"): keep(id)
keep("c25", None, ("**Exercise 10.2 ★.**", "**Exercise 10.3 ★.**")); keep("c26", None, ('check("10.2"', 'check("10.3"'))
keep("c27"); keep("c28", None, ("from lorral_lite.measure.metrics import floor_f1\n", "from lorral_lite.measure.metrics import floor_f1\nfrom lorral_lite.study.ceiling import others_f1\n")); keep("c29")
md("c30", """
At strength 0 the others tell nothing, and a reader that says yes only when yes is likelier scores *below* the floor:
the rare AUs get no yes at all. At strength 1 relations are worth a lot, if nothing else is known. But a model that sees
the face knows a lot already. How company adds to that follows from Bayes. Two AUs that often go together, one of which
cannot be seen, so that its $p$ is just its rate:

$$P(y \\mid x) \\propto P(y) \\prod_a \\Big(\\frac{p_a}{1-p_a} \\cdot \\frac{1-r_a}{r_a}\\Big)^{y_a}$$

with $p_a$ the detector's calibrated probability and $r_a$ the rate of the AU.
""")
keep("e02"); keep("e03")
md("e04", """
**Exercise 10.4 ★★.** In the table above, let the first AU be surely *absent* instead ($p_1 = 0.05$). What is the
probability of the hidden second AU now? (Tolerance 0.005.)
""")
keep("e05")
md("q07", """
## 10.6 The question, written first

Whoever looks at results before saying what is asked will find something. So the question was written, and committed,
before a face of the trial was drawn (`lorral experiment trial`, D101):

- **Arms**: no relation, an MLP of each module's size, four modules and their deaf twins, from one step 1.
- **Step 1** is trained on faces whose AUs are *independent*: nothing but the module can know a relation (D102).
- **The question**: the *slope* of module minus twin, mean AUC of the local output, strength 1 minus strength 0. AUC needs no
  threshold; the slope removes whatever a module adds where there is nothing to hear.
- **Who answers**: seeds, each with its own people, faces and training; t test over seeds, Holm over the four modules (D104).
- **What counts**: a slope smaller than a fifth of what a linear reader of all tokens gains is of no interest.
""")
code("ask-1", """
print(f"written at commit {str(asked['commit'])[:7]}, after a pilot on seeds {', '.join(map(str, asked['pilot_seeds']))}")
print(f"{len(asked['seeds'])} seeds of the trial's own: {asked['seeds'][0]} to {asked['seeds'][-1]}")
print(f"smallest slope of interest: {asked['interest']:.2f} points of AUC")
for name, smallest in asked["found_in_80_of_100"].items():
    print(f"  {label_of(name):15} found in 80 of 100 trials: a slope of {smallest:.2f}")
""", True)
md("q08", """
*Predict first:* write down for each module: gain, loss, smaller than of interest, or undecided.

## 10.7 The answer
""")
code("ans-1", """
from lorral_lite.course.ch10_ablation import plot_slopes

cells = folder / "cells"
answers = question.answer(cells, asked)
titles = {"local": "local output", "au": "AU output"}
plot_slopes({titles[family]: answers[family] for family in titles}, asked["interest"],
            "points of AUC, strength 1 minus 0")
""")
code("ans-2", """
def tell(family):
    for row in answers[family]:
        e = row["estimate"]
        print(f"  {label_of(row['name']):15}{e.value:+.2f} ({e.low:+.2f} to {e.high:+.2f}), "
              f"p {row['p_holm']:.3f} after Holm: {row['verdict']}")


for family, title in titles.items():
    print(f"{title}: module minus deaf twin, slope in points of AUC")
    tell(family)
""", True)
md("q09", """
Each small dot is a seed, the large mark their mean with its 95 % t interval; inside the grey band a slope is smaller than
of interest. A slope between two draws of *independent* AUs must be 0, or something is wrong with the method:
""")
code("ans-3", """
from lorral_lite.measure.statistics import jackknife

for name in asked["passed"]:
    e = jackknife(np.array(question.again(cells, asked["seeds"], name)))
    print(f"  {label_of(name):15}{e.value:+.2f} ({e.low:+.2f} to {e.high:+.2f})"
          f"{'' if e.low <= 0 <= e.high else '  does not include 0'}")
""", True)
md("q10", """
### As in the paper: step 1 on the faces of step 2

In the paper both steps see the same faces. Then step 1 has met the relations too, and may have built them into its
features; a module can only add what is left. Here no slope is needed: module minus twin at full strength.
""")
code("ans-4", """
papers = {"local, as in the paper": "local output", "AU, as in the paper": "AU output"}
plot_slopes({title: answers[family] for family, title in papers.items()}, asked["interest"],
            "points of AUC at full strength")
""")
code("ans-5", """
for family, title in papers.items():
    print(f"{title}: module minus deaf twin at full strength, points of AUC")
    tell(family)
""", True)
md("q11", """
### Levels, floors and other measures

A difference says nothing about the level it stands on. Mean AUC (50 is chance), F1 at ½ and at thresholds chosen on other
people (the floor is always saying yes), and log loss after recalibration, local output:
""")
code("ans-6", """
measures = {"auc": "AUC", "f1": "F1 at 1/2", "f1_thresholds": "F1, thresholds", "log_loss_recalibrated": "log loss"}
for step1, world in (("independent", "strength0"), ("independent", "strength1"), ("same", "strength1")):
    level = {m: question.levels(cells, asked, step1, world, "local", m) for m in measures}
    print(f"step 1 {step1}, {world}; floor of F1 {level['f1']['floor'].value:.1f}")
    for arm in [name for name in level["auc"] if name != "floor"]:
        deaf = arm.startswith("deaf_")
        words = label_of(arm.removeprefix("deaf_").removeprefix("mlp_"))
        words = f"twin of {words}" if deaf else f"MLP for {words}" if arm.startswith("mlp_") else words
        print(f"  {words:24}" + "".join(f"{measures[m]} {level[m][arm].value:{'.3f' if 'loss' in m else '.1f'}}   "
                                        for m in measures))
""", True)
code("ans-7", """
for measure, words in question.BESIDE.items():
    e = question.beside(cells, asked, "local", measure)
    print(f"{words}: slope of module minus twin, " + ", ".join(
        f"{label_of(n)} {v.value:+.2f} ({v.low:+.2f} to {v.high:+.2f})" for n, v in e.items()))
""", True)
md("q12", """
The same output can lose F1 and gain AUC: a threshold of ½ is one point of the curve (notebook 09), and a module may move
probabilities across it without ranking faces better or worse.

**Exercise 10.5 ★.** With a rate below one half and no evidence, an AU is never predicted at threshold 0.5. What is its
F1 then, in percent?
""")
keep("e18")
md("q13", """
## 10.8 How: whose company is it?

If a module uses company, the *wrong* company must hurt it. Take every other AU's token from another person's face, keep
the AU's own, and ask again. What is lost at strength 0 is not relation: crops overlap, so the AU's own pixels also stand
in other tokens.
""")
code("how-1", """
def lost(world, name, output="local"):
    level = {m: question.levels(cells, asked, "independent", world, output, m)[name].value for m in ("auc", "auc_strangers")}
    return level["auc"] - level["auc_strangers"]


names = [*asked["passed"], *(f"deaf_{name}" for name in list(asked["passed"])[:1])]
bars({f"strength {s}": [lost(f"strength{s}", name) for name in names] for s in (0, 1)},
     [label_of(name.removeprefix("deaf_")) + (", deaf twin" if name.startswith("deaf_") else "") for name in names],
     "AUC lost among strangers, local output", "points of AUC", form="{:.1f}")
""")
code("how-2", """
for name in asked["passed"]:
    e = jackknife(np.array(question.company(cells, asked["seeds"], name)))
    print(f"  {label_of(name):15} loses {e.value:+.2f} points more at strength 1 ({e.low:+.2f} to {e.high:+.2f})")
""", True)
md("q14", """
And *what* does it hear? The token of AU $j$ is set to its mean in faces that show it, then in faces that do not; how far
does the logit of AU $i$ move? Before and after it was taught, beside the true phi, the diagonal included: an AU's own
token is what moves it most.
""")
code("how-3", """
from lorral_lite.course.ch05_07_relations import flow
from lorral_lite.faces.population import Population

aus, phi = Population().aus, Population().expected_phi
first = [read_json(question.cell_file(cells, "independent", "strength1", s))["arms"] for s in asked["seeds"]]
effect = {when: np.mean([c["self_attention"][f"effects_{when}"] for c in first], 0) for when in ("start", "taught")}
flow([("as it began", effect["start"], ""), ("taught", effect["taught"], ""), ("true phi", phi, "")], aus,
     "Effect of AU j (column) on the logit of AU i (row), self-attention", columns=3)
""")
code("how-4", """
pairs = ~np.eye(12, dtype=bool)


def with_phi(key, name):
    r = [np.corrcoef(np.array(c[name][key])[pairs], phi[pairs])[0, 1] for c in first]
    e = jackknife(np.array(r))
    return f"{e.value:+.2f} ({e.low:+.2f} to {e.high:+.2f})"


for name in asked["passed"]:
    print(f"{label_of(name):15} effects and phi: r = {with_phi('effects_start', name)} as it began, "
          f"{with_phi('effects_taught', name)} taught")
for name in [n for n in asked["passed"] if "attention_taught" in first[0][n]]:
    print(f"{label_of(name):15} attention and phi: r = {with_phi('attention_start', name)} as it began, "
          f"{with_phi('attention_taught', name)} taught")
""", True)
md("q15", """
The paper reads attention as the chance that AUs occur together. Notebook 06 showed why weights cannot say that by
themselves; here both are compared with the truth, on the same modules.

**Who else uses company?** The AU head reads all tokens side by side, with or without a module, and step 1 may have seen
related faces. Levels of arms that hear nothing:
""")
code("how-5", """
def level(step1, world, arm, output):
    e = question.levels(cells, asked, step1, world, output, "auc")[arm]
    return f"{e.value:.1f} ({e.low:.1f} to {e.high:.1f})"


for step1, world in (("independent", "strength0"), ("independent", "strength1"), ("same", "strength1")):
    print(f"step 1 {step1:12}{world}: no relation, local output {level(step1, world, 'none', 'local')}, "
          f"AU output {level(step1, world, 'none', 'au')}")
""", True)
md("q16", """
## 10.9 A reference, not a ceiling

What would somebody do who knows the true distribution of patterns? Bayes as in 10.5, over all $2^{12}$ patterns, on the
calibrated probabilities of the arm without relation. That is a reference: tokens may tell more than probabilities do, so
a module may pass it. The other reference is a linear reader of all twelve tokens, beside one of the own token alone.
""")
code("ref-1", """
def references(seed, world):
    cell = read_json(question.cell_file(cells, "independent", world, seed))
    none, known = cell["arms"]["none"]["local"], cell["reference"]["local"]
    mean = lambda values: float(np.mean(values))  # noqa: E731
    return {"pattern prior, AUC": mean(known["auc"]) - mean(none["auc"]),
            "pattern prior, F1 at thresholds": mean(known["f1_thresholds"]) - mean(none["f1_thresholds"]),
            "linear reader of all tokens, AUC": mean(cell["readers"]["all"]["auc"]) - mean(cell["readers"]["own"]["auc"])}


for world in ("strength0", "strength1"):
    rows = [references(s, world) for s in asked["seeds"]]
    for what in rows[0]:
        e = jackknife(np.array([row[what] for row in rows]))
        print(f"{world}: {what} {e.value:+.2f} ({e.low:+.2f} to {e.high:+.2f})")
""", True)
md("q17", """
## 10.10 What this cannot say

- It is about drawings. How strongly AUs of real people depend on each other beyond what was counted is not known, nor how
  much a face hides.
- It is about the lite model: small faces, few of them, a step 2 of its own (D18, D19) in place of the paper's schedule.
- An interval over seeds holds retraining, other people and other faces of the *same* population.
- *Smaller than of interest* is a statement about this measure and this model, not a proof that nothing is there.
- Hidden eyes, pairs that exclude each other and half strength have not been asked.
""")
s = "".join(O["c44"]["source"])
md("c44", """
## Summary

- A gain needs controls: equal epochs, equal weights, and the module itself made deaf.
- Look where company can show: the local output. Compare pairwise, over seeds, and correct for many questions.
- A null needs a gate: the module, so taught, must succeed where it cannot fail.
- Write the question, the seeds and the smallest gain of interest before the data are there.
- Where step 1 has seen the relations already, ask who learned them: the module or everything before it.

**An open-ended project ★★★.** Ask one of the questions of 10.10: draw a world with `Population(structure="exclusion")` or
`hidden=(6, 7)`, and let `lorral_lite/study/trial.py` run in it. Write the verdict sentence *before* you look, with the
number you would accept.

**Next:** 11 runs the same pipeline on BP4D and DISFA, for those who have them.

**References.** LoRRaL, arXiv 2009.10892, section 4.3. S. Holm, *A simple sequentially rejective multiple test
procedure*, Scandinavian Journal of Statistics 6 (1979). S. Hinduja et al., *Beyond the Fold*, arXiv 2604.02162 (2026).
Z. Lipton et al., *Optimal thresholding of classifiers to maximize F1*, 2014.
**Deviations used:** D15, D17, D18, D19, D20, D21, D23, D24, D26, D45, D60, D61, D101, D102, D103, D104 (see DEVIATIONS.md).
""")
nb = {**{k: v for k, v in old.items() if k != "cells"}, "cells": cells}
open(sys.argv[1], "w").write(json.dumps(nb, indent=1, ensure_ascii=False) + "\n")
