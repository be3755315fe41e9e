"""Teams, projects, an organisation: hours spent on meetings, summed upwards, and no level shows its sum to the next.

Each team's server sums its people under masks. It then is one client among the teams of its project, and the project's
server one among the projects. Every message goes through bytes, as it would between machines.
"""

import numpy as np

from protocols import Client, ClientPolicy, EncodingDemand, FloatVector, Inputs, Participants, Server
from protocols.hierarchy import Consent, Hierarchy, Level, Operator, Total, Tree, policy_of
from protocols.simulation import Session
from secagg.errors import ParameterError, ThresholdError

# What everyone knows beforehand: how large groups are, whom each level withstands, what is summed.
terms = Hierarchy(
    levels=(
        Level("team", most=7, least=6, corrupt_fraction=0.2, dropout_fraction=0.2),
        Level("project", most=6, least=5, corrupt_fraction=0.2, dropout_fraction=0.2),
        Level("organisation", most=5, dropout_fraction=0.2),
    ),
    vectors=(FloatVector("hours", 5, clip=12.0, value_bits=16, rounding="nearest"),),
)
for row in terms.learned:
    print(f"{row.level}: its operator learns a sum of {row.inputs} people or more, {row.honest} of them not corrupt")

# Who is where: 5 projects of 5 or 6 teams of 6 or 7 people.
rng = np.random.default_rng(3)
projects = {f"project-{p}": [f"team-{p}{t}" for t in range(5 + p % 2)] for p in range(5)}
teams = {team: [f"{team}-{n}" for n in range(rng.integers(6, 8))] for names in projects.values() for team in names}
tree = Tree(
    (
        {team: Participants(people) for team, people in teams.items()},
        {project: Participants(names) for project, names in projects.items()},
        {"organisation": Participants(tuple(projects))},
    )
)
hours = {person: rng.gamma(3, 0.8, size=5).round(2) for person in tree.clients}

# Rounding to nearest is taken here, so that the plain sum can be compared; and sums may go up three levels.
own = ClientPolicy(encoding=EncodingDemand(rounding=None))
consent = Consent(max_levels=3, min_honest=4)
policy = policy_of(terms, 0, own, consent)


def sum_team(operator, people, ill=()):
    """One masked session of a team; the ill vanish before they hand anything in."""
    session = Session(
        operator.group,
        join=lambda person: Client(policy=policy),
        inputs=lambda person: terms.inputs({"hours": hours[person]}),
    )
    session.run({"masked-input": [person for person in people if person in ill]})


def sum_above(server, operators):
    """One masked session of operators, each of whom hands up its group's total, or nothing if it has none."""
    Session(server, join=operators.__getitem__, inputs=lambda name: Inputs({})).run()


ill = {"team-00-1", "team-31-0", *teams["team-22"][:4]}  # of team-22 too few are left
team_operators, lost = {}, []
for team, people in tree.levels[0].items():
    team_operators[team] = Operator(terms, 0, people, policy=own, consent=consent)
    try:
        sum_team(team_operators[team], people, ill)
    except ThresholdError:
        lost.append(team)
project_operators = {}
for project, names in tree.levels[1].items():
    project_operators[project] = Operator(terms, 1, names, policy=own, consent=consent)
    sum_above(project_operators[project].group, team_operators)
top = Server(terms.config(2, len(projects)), tree.levels[2]["organisation"])
sum_above(top, project_operators)
total = Total.of(terms, 2, top.result)

print("left out:", ", ".join(lost))
print(f"{total.num_clients} people of {total.groups[0]} teams and {total.groups[1]} projects are in the total")
print("mean hours, Monday to Friday:", total.mean("hours").round(2))
there = [person for team in teams if team not in lost for person in teams[team] if person not in ill]
plain = np.mean([hours[person] for person in there], axis=0)
print("as in clear:", total.num_clients == len(there) and np.allclose(total.mean("hours"), plain, atol=0.001))

# A person who consents to her project's sum, and no higher, does not take part.
try:
    policy_of(terms, 0, own, Consent(max_levels=2))
except ParameterError as refusal:
    print(refusal)
