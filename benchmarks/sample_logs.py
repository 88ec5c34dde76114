"""Makes agent logs in six formats: the sample that ships with the project, or as many more as a benchmark wants.

python -m benchmarks.sample_logs components/samples/logs --runs 24
"""

from __future__ import annotations

import argparse
import json
import random
import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

slots: dict[str, list[str]] = {
    "file": ["router.py", "session.py", "parser.py", "cache.py", "billing.py", "tokens.py", "scheduler.py", "views.py"],
    "fn": ["parse_header", "load_config", "merge_rows", "refresh_token", "resolve_path", "next_page", "flush_queue"],
    "n": ["3", "7", "12", "41", "128", "256", "1,024", "9,310"],
    "svc": ["checkout", "inventory", "search", "payments", "auth", "recommender", "notifications"],
    "city": ["Lisbon", "Oslo", "Kyoto", "Montreal", "Nairobi", "Porto", "Vienna", "Lima"],
    "table": ["orders", "customers", "refunds", "shipments", "subscriptions", "events"],
    "month": ["January", "March", "May", "July", "October", "December"],
    "name": ["Ada", "Bram", "Chloe", "Dmitri", "Esi", "Farid", "Greta", "Hiro"],
    "ms": ["14", "48", "130", "420", "1900"],
    "pct": ["2.1", "4.8", "11.5", "23", "37.2", "61"],
}


@dataclass(frozen=True)
class Family:
    """One kind of work: what is asked, thought, called, answered and concluded."""

    name: str
    system: str
    tasks: list[str]
    thoughts: list[str]
    calls: list[tuple[str, dict[str, str]]]
    results: list[str]
    errors: list[str]
    finals: list[str]


families = [
    Family(
        "python-tests",
        "You are a careful software engineer. Work in the repository, run the tests, and keep changes small.",
        [
            "The test suite of our web framework fails since the last release: `{fn}` raises a KeyError when the header is missing. Please fix it and add a regression test.",
            "Requests with an empty query string crash in {file}. Find out why and repair it without changing the public interface.",
            "pytest reports {n} failures in the routing tests after upgrading Python. Make them pass again.",
        ],
        [
            "The traceback points at {fn} in {file}. I will read that function before touching anything.",
            "The test expects None for a missing header, but the code indexes the dictionary directly. Using get with a default should be enough.",
            "Before I change it, I want to know who else calls {fn}, since a different return value could surprise them.",
            "The failing assertion compares bytes with str. The upgrade changed the default encoding of the response body.",
        ],
        [
            ("bash", {"command": "pytest -x -q tests/test_routing.py"}),
            ("read_file", {"path": "src/app/{file}"}),
            ("bash", {"command": "grep -rn '{fn}' src/ tests/"}),
            ("edit_file", {"path": "src/app/{file}", "old": "headers[name]", "new": "headers.get(name)"}),
        ],
        [
            "============ {n} passed, 1 failed in 2.3s ============\nFAILED tests/test_routing.py::test_missing_header - KeyError: 'x-request-id'",
            "def {fn}(headers, name):\n    value = headers[name]\n    return value.strip().lower()",
            "src/app/{file}:{n}: from .http import {fn}\ntests/test_routing.py:12: from app.http import {fn}",
            "{n} passed in 1.9s",
        ],
        [
            "ModuleNotFoundError: No module named 'app'; did you install the package in editable mode?",
            "SyntaxError: unterminated string literal (detected at line {n})",
        ],
        [
            "Fixed: {fn} in {file} now returns None for a missing header, and tests/test_routing.py has a regression test. All {n} tests pass.",
            "The crash came from splitting an empty query string. I guarded it in {file} and covered the case with a parametrised test.",
        ],
    ),
    Family(
        "sql-analysis",
        "You answer business questions with SQL on a read-only warehouse. Show the numbers you used.",
        [
            "Which product categories lost revenue in {month} compared with the month before, and why?",
            "How many customers who churned in {month} had opened a support ticket in the two weeks before?",
            "The dashboard says that {table} dropped by {pct} percent. Is that real or a data problem?",
        ],
        [
            "I need monthly revenue by category first; a window function gives the difference to the previous month.",
            "The join between {table} and customers may duplicate rows, so I count distinct ids before I trust the sum.",
            "A drop of exactly {pct} percent on one day looks like a missing partition rather than a change in behaviour.",
        ],
        [
            (
                "sql",
                {
                    "query": "select category, sum(amount) as revenue from {table} where month = '{month}' group by 1 order by 2 desc"
                },
            ),
            ("sql", {"query": "select count(*), count(distinct customer_id) from {table}"}),
            ("sql", {"query": "select day, count(*) from {table} group by 1 order by 1 desc limit 14"}),
        ],
        [
            "category | revenue\ngarden | 18,2{n}\nkitchen | 14,9{n}\ntoys | 9,1{n}",
            "count | distinct\n{n}4,102 | 41,0{n}",
            "2026-05-03 | 0\n2026-05-02 | 5,1{n}\n2026-05-01 | 5,2{n}",
        ],
        ['ERROR: column "amount" must appear in the GROUP BY clause', 'ERROR: relation "{table}_daily" does not exist'],
        [
            "Garden and toys lost {pct} percent against the previous month; kitchen grew. The loss is explained by a promotion that ended on the second of {month}.",
            "It is a data problem: the load of {table} stopped on one day. Without that day the change is {pct} percent, within the usual range.",
        ],
    ),
    Family(
        "kubernetes",
        "You are the on-call engineer of a cluster. Diagnose first, change as little as possible, and say what you changed.",
        [
            "The {svc} service restarts every few minutes in production. Find the cause.",
            "Latency of {svc} went from {ms} ms to over a second after the last rollout.",
            "Pods of {svc} stay pending since this morning. What is missing?",
        ],
        [
            "The restarts may be out-of-memory kills, so the last state of the container is the first thing to look at.",
            "The readiness probe times out before the cache is warm. That would explain why the rollout never finishes.",
            "No node has enough free CPU for the request of {svc}; the autoscaler is at its maximum.",
        ],
        [
            ("kubectl", {"args": "get pods -l app={svc} -o wide"}),
            ("kubectl", {"args": "describe pod {svc}-7d9f8-x2k"}),
            ("kubectl", {"args": "logs deploy/{svc} --tail=50"}),
            ("kubectl", {"args": "top nodes"}),
        ],
        [
            "NAME READY STATUS RESTARTS AGE\n{svc}-7d9f8-x2k 0/1 CrashLoopBackOff {n} 3h",
            "Last State: Terminated\n  Reason: OOMKilled\n  Exit Code: 137\nLimits: memory {n}Mi",
            'level=warn msg="connection pool exhausted" service={svc} waiting={n}',
            "node-a 93% cpu 71% memory\nnode-b 97% cpu 64% memory",
        ],
        ["Error from server (Forbidden): pods is forbidden: user cannot list resource in namespace prod"],
        [
            "The {svc} container exceeds its memory limit of {n} MiB when the cache is full. I raised the limit and opened a ticket to bound the cache.",
            "The pods were pending because the quota of the namespace was used up by finished jobs. I removed those and {svc} is running again.",
        ],
    ),
    Family(
        "web-research",
        "You research questions on the web and answer with sources. Say how sure you are.",
        [
            "What are the trade-offs between heat pumps and district heating for a block of flats in {city}?",
            "Summarise what is known about microplastics in drinking water, with the newest reviews.",
            "Compare the tram networks of {city} and {city}: length, ridership and fares.",
        ],
        [
            "The municipal site should have the official figures; travel blogs repeat old ones.",
            "Two reviews disagree about the particle counts, probably because their filters have different pore sizes.",
            "I have the length of the network, but the ridership figure is from before the extension opened.",
        ],
        [
            ("web_search", {"query": "district heating {city} carbon intensity report"}),
            ("web_search", {"query": "microplastics drinking water systematic review"}),
            ("open_page", {"url": "https://transport.example.org/{city}/tram"}),
        ],
        [
            "1. City of {city}: heat planning report, {n} pages\n2. Energy agency: comparison of heating systems\n3. Forum: our heat pump is noisy",
            "The tram network has {n} km of track and carried {pct} million passengers last year. A single ticket costs 2.80.",
            "The review covers {n} studies. Concentrations range over four orders of magnitude; methods differ widely.",
        ],
        ["HTTP 404: the page has moved", "The page asks for a login; no text could be read."],
        [
            "For dense blocks in {city} district heating is cheaper when the grid passes the street; elsewhere heat pumps win. Sources: municipal heat plan, energy agency.",
            "The evidence for harm is limited, that for presence is strong. The newest review ({n} studies) asks for standard methods before conclusions.",
        ],
    ),
    Family(
        "airline-service",
        "You are a customer service agent of an airline. Follow the policy: verify the booking, state fees before any change, never promise refunds outside the rules.",
        [
            "Hello, I need to move my flight to {city} by two days, my name is {name} and I booked economy.",
            "My bag did not arrive in {city}. What happens now, and do I get money for clothes?",
            "I want to cancel my trip because my daughter is ill. Can you refund the tickets?",
        ],
        [
            "The fare is basic economy, so changes are only possible with the flexible add-on; I should check whether it was bought.",
            "The policy allows a refund for illness with a certificate. I must ask for it before promising anything.",
            "The bag was scanned last in Frankfurt; the customer is entitled to essentials up to {n} euros.",
        ],
        [
            ("get_booking", {"reference": "QX{n}"}),
            ("search_flights", {"to": "{city}", "date": "2026-06-1{n}"}),
            ("get_baggage_trace", {"tag": "06{n}441"}),
        ],
        [
            "Booking QX{n}: {name}, economy, return {city}, travel insurance: yes, flexible: no",
            "Two flights with seats: 07:40 and 16:15, change fee {n} euros",
            "Bag 06{n}441: last scan Frankfurt, forwarded on the next flight to {city}",
        ],
        ["Booking not found. Ask the customer for the six-character reference."],
        [
            "I moved your flight to {city} by two days; the fee of {n} euros was charged to the card you used. Is there anything else?",
            "Your bag arrives tomorrow before noon at your hotel in {city}. Please keep receipts for essentials, we refund up to {n} euros.",
        ],
    ),
    Family(
        "frontend",
        "You build user interfaces. Keep components small, accessible and typed.",
        [
            "The date picker loses focus after each key press. Find out why and fix it.",
            "Our settings page renders twice and flickers on slow phones. Please profile it.",
            "The dark theme has unreadable buttons in the {svc} dialog.",
        ],
        [
            "The input is declared inside the render function, so React mounts a new one on each key press. Moving it out keeps the focus.",
            "The effect depends on an object literal that changes on each render; a memo would break the loop.",
            "The button takes its colour from a token that the dark theme does not define.",
        ],
        [
            ("read_file", {"path": "web/src/{svc}/DatePicker.tsx"}),
            ("bash", {"command": "npm test -- --run {svc}"}),
            ("browser_screenshot", {"url": "http://localhost:5173/settings"}),
        ],
        [
            "export function DatePicker(props) {\n  const Input = () => <input value={props.value} />;\n  return <Input />;\n}",
            "Tests  {n} passed (1 failed)\n  expected document.activeElement to be input",
            "[image] the dialog with grey text on a dark grey button",
        ],
        ["TypeError: Cannot read properties of undefined (reading 'theme')", 'npm error Missing script: "test:unit"'],
        [
            "The focus stays now: the inner Input component was recreated on each render, it lives at module level. {n} tests pass.",
            "Buttons in the {svc} dialog reach a contrast of 7 to 1 in the dark theme; the missing token is defined.",
        ],
    ),
    Family(
        "model-training",
        "You help to train and debug machine learning models. Measure before you conclude.",
        [
            "The validation loss of our classifier goes up after epoch {n} while the training loss falls. What should we do?",
            "Training on two devices is no faster than on one. Find the bottleneck.",
            "The loss becomes NaN after {n} steps since we switched to half precision.",
        ],
        [
            "The gap between the curves is overfitting; before adding dropout I check for duplicates between the splits.",
            "The profile shows the loader waiting for decompression {pct} percent of the time, so the devices starve.",
            "A NaN in half precision usually is an overflow in the attention scores; a smaller scale or bfloat16 avoids it.",
        ],
        [
            ("bash", {"command": "python train.py --epochs {n} --profile"}),
            ("python", {"code": "losses = read('run.csv'); print(losses.tail({n}))"}),
            ("bash", {"command": "nvidia-smi --query-gpu=utilization.gpu --format=csv"}),
        ],
        [
            "epoch {n}: train 0.21 val 0.74 accuracy {pct}%",
            "utilization.gpu: 31 %, 28 %",
            "step {n} loss nan grad_norm inf scale 65536",
        ],
        [
            "RuntimeError: CUDA out of memory. Tried to allocate {n} MiB",
            "ValueError: Expected input batch_size ({n}) to match target batch_size (16)",
        ],
        [
            "There were {n} near-duplicate images in both splits. After removing them and stopping early the validation accuracy is {pct} percent.",
            "Decoding images in the workers ahead of time doubled the throughput; both devices are busy now.",
        ],
    ),
    Family(
        "csv-cleaning",
        "You clean tabular data with pandas or polars and document each decision.",
        [
            "Here is an export of {table} with mixed date formats and stray spaces. Give me a clean file and a list of what you changed.",
            "Merge the two customer lists by e-mail and tell me which rows conflict.",
            "Some amounts have commas, some dots. Make them numbers without guessing wrong.",
        ],
        [
            "Day and month are ambiguous in {n} rows; the neighbouring order numbers tell which format was meant.",
            "E-mail addresses differ in case and in trailing spaces, so I normalise both before the join.",
            "Amounts such as 1.234,50 and 1,234.50 appear side by side. The currency column parts them cleanly.",
        ],
        [
            ("python", {"code": "df = pd.read_csv('{table}.csv', dtype=str); print(df.isna().sum())"}),
            ("python", {"code": "merged = left.merge(right, on='email', how='outer', indicator=True)"}),
            ("python", {"code": "df['amount'] = df.apply(to_number, axis=1)"}),
        ],
        [
            "date       {n}\namount      0\nemail       3\ndtype: int64",
            "both 1,8{n}\nleft_only {n}\nright_only 56",
            "   amount currency\n0  1234.5      EUR\n1   980.0      USD",
        ],
        ["ParserError: Error tokenizing data. C error: Expected 9 fields in line {n}, saw 11", "KeyError: 'email'"],
        [
            "The clean file has {n} rows fewer: exact duplicates. Dates are ISO now; the {n} ambiguous ones are listed in decisions.md.",
            "The lists share 1,8{n} customers; {n} conflict in their postal code and are marked for you to decide.",
        ],
    ),
    Family(
        "security-review",
        "You review code for security problems. Report only what you can show, with severity and a fix.",
        [
            "Review the upload endpoint in {file} before we publish it.",
            "Somebody reports that session cookies survive a logout. Please confirm and propose a fix.",
            "Check our dependencies for known vulnerabilities that really affect us.",
        ],
        [
            "The file name goes into a path without checks, so ../ escapes the upload folder. I will prove it with a harmless request.",
            "Logout deletes the cookie in the browser but the session stays valid on the server.",
            "The advisory concerns the XML parser, which we do not use; the other one is in the code path of {fn}.",
        ],
        [
            ("bash", {"command": "curl -F 'file=@probe.txt;filename=../../probe.txt' localhost:8000/upload"}),
            ("read_file", {"path": "src/app/{file}"}),
            ("bash", {"command": "pip-audit --format columns"}),
        ],
        [
            "HTTP/1.1 201 Created\nlocation: /files/../../probe.txt",
            "Found {n} known vulnerabilities in 2 packages",
            "def logout(response):\n    response.delete_cookie('session')",
        ],
        ["curl: (7) Failed to connect to localhost port 8000: Connection refused"],
        [
            "High: path traversal in {file}. The fix keeps only the base name and rejects absolute paths; a test proves it.",
            "Confirmed. Sessions are now revoked on the server at logout, and old ones expire after {n} minutes.",
        ],
    ),
    Family(
        "git-merge",
        "You help with version control. Never rewrite shared history without asking.",
        [
            "Merging the {svc} branch into main gives conflicts in {n} files. Resolve them so that both features work.",
            "I committed a secret by accident two commits ago and have not pushed. What now?",
            "Find the commit that broke {fn}.",
        ],
        [
            "Both sides renamed the same function; main also changed its arguments, so I take the new name and the new arguments.",
            "As nothing was pushed, an interactive rebase removes it from history, and the secret must be revoked anyway.",
            "A bisect with the failing test as its judge finds the commit in {n} steps.",
        ],
        [
            ("bash", {"command": "git merge {svc} && git status --short"}),
            ("bash", {"command": "git bisect run pytest -q tests/test_{svc}.py"}),
            ("bash", {"command": "git log --oneline -n {n} -- src/app/{file}"}),
        ],
        [
            "CONFLICT (content): Merge conflict in src/app/{file}\nAutomatic merge failed; fix conflicts and then commit the result.",
            "9f31c{n} is the first bad commit\n    Speed up {fn} by caching",
            "a81b{n} Rename {fn}\n77de{n} Add {svc} feature flag",
        ],
        ["fatal: not a git repository (or any of the parent directories): .git"],
        [
            "The merge is done: both features work, {n} tests pass, and no commit of main was rewritten.",
            "Commit 9f31c{n} broke {fn}: its cache ignores the second argument. A one-line fix with a test is on your branch.",
        ],
    ),
]


remarks = [
    "Let me check that before I go on.",
    "That is not what I expected, so the assumption must be wrong.",
    "The first idea did not work; the next one is simpler anyway.",
    "I should keep the change small and say what I left alone.",
    "It would help to know when this started.",
    "The numbers agree with what the user reported.",
    "There may be a second cause, but this one comes first.",
    "I will write down what I found so that nobody has to look again.",
    "If this is right, {n} similar cases are affected too.",
    "A quick experiment costs less than reading everything.",
    "{name} wrote about the same thing in {month}; their note helps.",
    "I am fairly sure, yet a test is better than a belief.",
]


@dataclass
class Step:
    """One response of the model and what came back."""

    thought: str
    tool: str
    arguments: dict[str, str]
    result: str
    failed: bool


@dataclass
class Story:
    """One run, before it is spelled in a format."""

    id: str
    family: Family
    task: str
    final: str
    started: datetime
    steps: list[Step] = field(default_factory=list)

    def at(self, n: int) -> str:
        """The time of the n-th event, ISO 8601."""
        return (self.started + timedelta(seconds=7 * n)).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def fill(template: str, rng: random.Random) -> str:
    """The template with a word in each slot, a fresh one each time."""
    for name, choices in slots.items():
        while "{" + name + "}" in template:
            template = template.replace("{" + name + "}", rng.choice(choices), 1)
    return template


def thought_of(family: Family, rng: random.Random) -> str:
    """One or two thoughts, often with a remark, so that no two responses need be the same."""
    sentences = rng.sample(family.thoughts, rng.choice((1, 1, 2))) + rng.sample(remarks, rng.choice((0, 1, 1)))
    return fill(" ".join(sentences), rng)


def story(n: int, rng: random.Random) -> Story:
    family = families[n % len(families)]
    run = Story(
        id=str(uuid.UUID(int=rng.getrandbits(128), version=4)),
        family=family,
        task=fill(rng.choice(family.tasks), rng),
        final=fill(rng.choice(family.finals), rng),
        started=datetime(2026, 5, 4, 8, tzinfo=UTC) + timedelta(minutes=37 * n),
    )
    for _ in range(rng.randint(5, 10)):
        tool, arguments = rng.choice(family.calls)
        failed = rng.random() < 0.15
        outcome = [rng.choice(family.errors)] if failed else rng.sample(family.results, rng.choice((1, 1, 2)))
        run.steps.append(
            Step(
                thought=thought_of(family, rng),
                tool=tool,
                arguments={key: fill(value, rng) for key, value in arguments.items()},
                result=fill("\n".join(outcome), rng),
                failed=failed,
            )
        )
    return run


def claude_code(run: Story) -> str:
    def line(type: str, n: int, message: dict[str, Any], **more: Any) -> dict[str, Any]:
        return {
            "type": type,
            "uuid": f"{run.id[:-4]}{n:04x}",
            "sessionId": run.id,
            "timestamp": run.at(n),
            "cwd": "/home/dev/project",
            "version": "2.1.0",
            "isSidechain": False,
            "message": message,
            **more,
        }

    rows = [line("user", 0, {"role": "user", "content": run.task})]
    for i, step in enumerate(run.steps):
        reply = {
            "id": f"msg_{run.id[:8]}{i:02d}",
            "role": "assistant",
            "model": "claude-sonnet-4-5",
            "stop_reason": None,
        }
        call = f"toolu_{run.id[:6]}{i:02d}"
        rows += [
            line("assistant", 3 * i + 1, {**reply, "content": [{"type": "text", "text": step.thought}]}),
            line(
                "assistant",
                3 * i + 2,
                {**reply, "content": [{"type": "tool_use", "id": call, "name": step.tool, "input": step.arguments}]},
            ),
            line(
                "user",
                3 * i + 3,
                {
                    "role": "user",
                    "content": [
                        {"type": "tool_result", "tool_use_id": call, "content": step.result, "is_error": step.failed}
                    ],
                },
            ),
        ]
    end = {"id": f"msg_{run.id[:8]}end", "role": "assistant", "model": "claude-sonnet-4-5", "stop_reason": "end_turn"}
    rows.append(line("assistant", 99, {**end, "content": [{"type": "text", "text": run.final}]}))
    return json_lines(rows)


def codex(run: Story) -> str:
    def line(n: int, type: str, payload: dict[str, Any]) -> dict[str, Any]:
        return {"timestamp": run.at(n), "type": type, "payload": payload}

    def message(role: str, text: str) -> dict[str, Any]:
        kind = "output_text" if role == "assistant" else "input_text"
        return {"type": "message", "role": role, "content": [{"type": kind, "text": text}]}

    rows = [
        line(
            0,
            "session_meta",
            {"id": run.id, "cwd": "/home/dev/project", "originator": "codex_cli", "cli_version": "0.125.0"},
        ),
        line(1, "response_item", message("user", run.task)),
    ]
    for i, step in enumerate(run.steps):
        call = f"call_{run.id[:6]}{i:02d}"
        arguments = json.dumps(step.arguments)
        rows += [
            line(3 * i + 2, "response_item", message("assistant", step.thought)),
            line(
                3 * i + 3,
                "response_item",
                {"type": "function_call", "name": step.tool, "arguments": arguments, "call_id": call},
            ),
            line(3 * i + 4, "response_item", {"type": "function_call_output", "call_id": call, "output": step.result}),
        ]
    rows.append(line(98, "response_item", message("assistant", run.final)))
    rows.append(line(99, "event_msg", {"type": "task_complete", "last_agent_message": run.final}))
    return json_lines(rows)


def openai_chat(run: Story) -> str:
    messages: list[dict[str, Any]] = [
        {"role": "system", "content": run.family.system},
        {"role": "user", "content": run.task},
    ]
    for i, step in enumerate(run.steps):
        call = f"call_{i}"
        function = {"name": step.tool, "arguments": json.dumps(step.arguments)}
        messages += [
            {
                "role": "assistant",
                "content": step.thought,
                "tool_calls": [{"id": call, "type": "function", "function": function}],
            },
            {"role": "tool", "tool_call_id": call, "content": step.result},
        ]
    messages.append({"role": "assistant", "content": run.final})
    return json.dumps({"id": run.id, "messages": messages}, indent=1) + "\n"


def swe_agent(run: Story) -> str:
    trajectory = [
        {
            "action": f"{step.tool} {json.dumps(step.arguments)}\n",
            "observation": step.result,
            "response": step.thought,
            "thought": step.thought,
            "state": "{}",
        }
        for step in run.steps
    ]
    history = [
        {"role": "system", "content": run.family.system, "agent": "main"},
        {"role": "user", "content": run.task, "agent": "main"},
    ]
    info = {"exit_status": "submitted", "submission": run.final, "model_stats": {"api_calls": len(run.steps)}}
    return (
        json.dumps({"environment": "main", "trajectory": trajectory, "history": history, "info": info}, indent=1) + "\n"
    )


def mini_swe_agent(run: Story) -> str:
    messages: list[dict[str, Any]] = [
        {"role": "system", "content": run.family.system},
        {"role": "user", "content": run.task},
    ]
    for i, step in enumerate(run.steps):
        shell = step.arguments.get("command") or f"{step.tool} {' '.join(step.arguments.values())}"
        created = (run.started + timedelta(seconds=7 * i)).timestamp()
        messages += [
            {
                "role": "assistant",
                "content": f"THOUGHT: {step.thought}\n\n```bash\n{shell}\n```",
                "extra": {"response": {"created": created}},
            },
            {
                "role": "user",
                "content": f"<returncode>{int(step.failed)}</returncode>\n<output>\n{step.result}\n</output>",
            },
        ]
    info = {"exit_status": "Submitted", "submission": run.final, "mini_version": "1.14.0"}
    document = {"info": info, "messages": messages, "trajectory_format": "mini-swe-agent-1", "instance_id": run.id}
    return json.dumps(document, indent=1) + "\n"


def generic(run: Story) -> str:
    rows: list[dict[str, Any]] = [
        {"iteration": 0, "idx": 0, "type": "system", "text": run.family.system, "timestamp": run.at(0)},
        {"iteration": 0, "idx": 1, "type": "user", "text": run.task, "timestamp": run.at(1)},
    ]
    for i, step in enumerate(run.steps, 1):
        call = f"{step.tool} {json.dumps(step.arguments)}"
        kinds = (
            ("assistant", step.thought),
            ("tool_call", call),
            ("error" if step.failed else "tool_result", step.result),
        )
        rows += [
            {"iteration": i, "idx": n, "type": kind, "text": text, "timestamp": run.at(3 * i + n)}
            for n, (kind, text) in enumerate(kinds)
        ]
    rows.append(
        {"iteration": len(run.steps) + 1, "idx": 0, "type": "assistant", "text": run.final, "timestamp": run.at(99)}
    )
    return json_lines(rows)


def json_lines(rows: list[dict[str, Any]]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


formats = {
    "claude-code/{id}.jsonl": claude_code,
    "codex/rollout-{id}.jsonl": codex,
    "chat/{family}-{n}.json": openai_chat,
    "swe-agent/{family}-{n}.traj": swe_agent,
    "mini-swe-agent/{family}-{n}.traj.json": mini_swe_agent,
    "own-format/{family}-{n}.jsonl": generic,
}


def write_logs(folder: Path, runs: int, seed: int = 0) -> None:
    """`runs` logs, the formats in turn, the same ones for the same seed."""
    rng = random.Random(seed)
    spellings = list(formats.items())
    for n in range(runs):
        run = story(n, rng)
        pattern, spell = spellings[(n + n // len(families)) % len(spellings)]
        path = folder / pattern.format(id=run.id, family=run.family.name, n=n)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(spell(run))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--runs", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    write_logs(given.folder, given.runs, given.seed)
