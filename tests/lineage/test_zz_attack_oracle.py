import random, pytest
from collections import defaultdict
from lineart.lineage.answers.stale import stale_versions
from lineart.lineage.answers.impact import impact_of


import networkx as nx

def oracle(used, made, newest):
    """used: run->list of (c,n); made: version -> runs in order; newest: c->n live"""
    # circles of collections
    g = nx.DiGraph()
    for v, runs in made.items():
        for r in runs:
            for u in used[r]:
                g.add_edge(u[0], v[0])
    circle = {}
    for i, c in enumerate(nx.strongly_connected_components(g)):
        for x in c: circle[x] = i
    def came_of(newest_v, v):
        """newest_v came of v (by a way within circle)"""
        ci = circle.get(v[0], ('x', v[0]))
        seen, todo = {newest_v}, [newest_v]
        while todo:
            x = todo.pop()
            if x == v: return True
            for r in made.get(x, []):
                for u in used[r]:
                    if circle.get(u[0], ('x', u[0])) == ci and u not in seen:
                        seen.add(u); todo.append(u)
        return False
    roots = {}
    def reasons(v, r):
        out = set()
        by = defaultdict(list)
        for u in used[r]: by[u[0]].append(u[1])
        current = {c for c, ns in by.items() if c not in newest or max(ns) >= newest[c]}
        for c, ns in by.items():
            ns = sorted(set(ns) - ({v[1]} if c == v[0] else set()))
            if not ns: continue
            u = (c, ns[-1])
            older = c in newest and u[1] < newest[c]
            handed = roots.get(u, frozenset())
            goes = c == v[0] or (older and circle.get(c, ('x', c)) == circle.get(v[0], ('x', v[0])) and came_of((c, newest[c]), v))
            if goes:
                out |= handed - current
            elif older:
                out.add(c)
            else:
                out |= handed
        return frozenset(out)
    while True:
        new = {}
        for v, runs in made.items():
            rs = [reasons(v, r) for r in runs]
            new[v] = frozenset() if any(not x for x in rs) else rs[-1]
        if new == roots: return {v for v, x in roots.items() if x}, roots
        # monotone
        for v in new:
            assert new[v] >= roots.get(v, frozenset())
        roots = new

@pytest.mark.parametrize("seed", range(400))
def test_oracle(world, seed):
    dice = random.Random(seed)
    known, used, made, records = [], {}, {}, {}
    for step in range(dice.choice([6, 12, 25])):
        name = dice.choice("abcd"[:dice.choice([1,2,3,4])])
        inputs = dice.sample(known, min(len(known), dice.randrange(4)))
        content = f"{name}{dice.randrange(5)}" if dice.random() < 0.4 else f"{step}"
        run = world.run(*(f"{c}:v{n}" for c, n in inputs)) if inputs else None
        if run and dice.random() < .2: used_more = dice.choice(known); world.ledger.use(run, __import__('lineart.artifacts.ref').artifacts.ref.Ref.parse(f"{used_more[0]}:v{used_more[1]}"), "p"); inputs = [*inputs, used_more]
        for _ in range(dice.choice([1,1,2])):
            record = world.log(name, content, run)
            v = (name, record.number); records[v] = record
            if v not in known: known.append(v)
            if run:
                used[run] = inputs
                made.setdefault(v, [])
                if run not in made[v]: made[v].append(run)
            name = dice.choice("abcd"); content = f"{name}{dice.randrange(5)}"
    gone = set()
    for v in list(records):
        if dice.random() < .15:
            world.delete(records[v]); gone.add(v)
    newest = {}
    for c, n in known:
        if (c, n) not in gone: newest[c] = max(newest.get(c, -1), n)
    want, roots = oracle(used, made, newest)
    got = {(o.version.collection, o.version.number) for o in stale_versions(world.catalog, "not tag=none", "p")}
    if got != {v for v in want if v not in gone}:
        print("GONE", gone, "NEWEST", newest)
        for v in made: print(v, [(r, used[r]) for r in made[v]], "roots", set(roots[v]), "got" if v in got else "")
        for o in stale_versions(world.catalog, "not tag=none", "p"): print(o.version.name, o.run, [(b.used.name,b.newest.name) for b in o.behind], [t.name for t in o.through])
    assert got == {v for v in want if v not in gone}
    # each by itself
    for v in known:
        if v in gone: continue
        one = stale_versions(world.catalog, f"{v[0]}:v{v[1]}", "p")
        assert bool(len(one)) == (v in want), v
    # impact
    v = dice.choice(known)
    if v not in gone:
        found = impact_of(world.ledger, f"{v[0]}:v{v[1]}", "p")
        steps = {v: 0}; todo = [v]
        for x in todo:
            for m, runs in made.items():
                if m not in steps and any(x in used[r] for r in runs):
                    steps[m] = steps[x] + 1; todo.append(m)
        assert {(o.version.collection, o.version.number): o.steps for o in (*found.named, *found.others)} == steps
