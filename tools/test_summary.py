#!/usr/bin/env python3
"""Prints what a `bazel test` run showed and ends with `N passed, N failed`.

Usage: test_summary.py EVENTS LOG STATUS, with Bazel's build events (JSON lines), the log of its
output and its exit status. A Catch2 binary counts by test case, any other test as one.
Rule: nothing that went wrong may count as nothing: a target that crashed, timed out, did not build
or ran no case is at least one failure, and so is a Bazel that failed otherwise.
"""
import json
import os
import re
import sys
from urllib.parse import unquote, urlparse

ALL_PASSED = re.compile(r'^All tests passed \(.*?in (\d+) test cases?\)', re.M)
SOME_FAILED = re.compile(r'^test cases:\s+\d+ \|(.*)$', re.M)
OWN_COUNT = re.compile(r'^(\d+) passed, (\d+) failed$', re.M)  # tests/golden and the scripts
SKIPPED = re.compile(r'^.*\bskipped\b.*$', re.M)


def read_events(path):
    """Returns ({test label}, {label: (status, [log path])}) of one run."""
    tests, results = set(), {}
    if not os.path.exists(path):
        return tests, results
    with open(path, encoding='utf-8') as events:
        for event in map(json.loads, events):
            kind = event['id']
            if 'targetConfigured' in kind and 'testSize' in event.get('configured', {}):
                tests.add(kind['targetConfigured']['label'])
            elif 'testSummary' in kind:
                summary = event['testSummary']
                files = summary.get('passed', []) + summary.get('failed', [])
                logs = [unquote(urlparse(file['uri']).path) for file in files]
                results[kind['testSummary']['label']] = (summary['overallStatus'], logs)
    return tests, results


def count(text, passed):
    """Returns (passed, failed) cases of a test's log, given Bazel's verdict on the whole target."""
    good = bad = 0
    found = False
    for match in ALL_PASSED.finditer(text):
        good, found = good + int(match[1]), True
    for match in SOME_FAILED.finditer(text):
        for number, word in re.findall(r'(\d+) (passed|failed\b(?! as expected))', match[1]):
            good, bad = good + int(number) * (word == 'passed'), bad + int(number) * (word != 'passed')
        found = True
    for match in OWN_COUNT.finditer(text):
        good, bad, found = good + int(match[1]), bad + int(match[2]), True
    if 'No tests ran' in text:
        return good, bad + 1
    if passed:
        return (good, bad) if found else (1, 0)
    return good, max(bad, 1)


def main(events, log, status):
    tests, results = read_events(events)
    total_good = total_bad = 0
    skipped = []
    for label in sorted(tests | results.keys()):
        verdict, logs = results.get(label, ('DID NOT BUILD', []))
        text = ''
        for path in filter(os.path.exists, logs):
            with open(path, encoding='utf-8', errors='replace') as file:
                text += file.read()
        good, bad = count(text, verdict == 'PASSED')
        total_good, total_bad = total_good + good, total_bad + bad
        skipped += [f'{label}: {line.strip()}' for line in SKIPPED.findall(text)]
        print(f'{"ok  " if not bad else "FAIL"} {label:48} {good:4} passed {bad:4} failed'
              + ('' if verdict == 'PASSED' else f'  {verdict}'))
        for path in logs if bad else []:
            print(f'     {path}')
            print(''.join(f'     | {line}\n' for line in text.splitlines()[-20:]), end='')
    for line in skipped:
        print(f'not run: {line}')
    if status != 0 and total_bad == 0:
        total_bad = 1
        print(f'bazel failed with status {status}')
    if total_good + total_bad == 0:
        total_bad = 1
        print('no test was found')
    if total_bad:
        with open(log, encoding='utf-8', errors='replace') as file:
            errors = [line.rstrip() for line in file if re.search(r'\berror: |^ERROR: ', line)]
        print('\n'.join(errors[:10] + [f'the whole output is in {log}']))
    print(f'{total_good} passed, {total_bad} failed')
    return 1 if total_bad else 0


if __name__ == '__main__':
    sys.exit(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
