"""Runs one file of unit tests on the MicroPython VM and says what happened, line by line; judges
nothing.

Called as: micropython run.py <module> <folder on sys.path>...
Lines:  "@run <id>" before a test, "@ok|@fail|@error <id> <ms>" after it, "| ..." for a traceback,
and at the very end "@end <number of tests>".  Whatever else the tests print is ignored by the
host.
"""

import io
import sys
import time


def _report(error):
    text = io.StringIO()
    sys.print_exception(error, text)
    for line in text.getvalue().split("\n"):
        if line:
            print("| " + line)


def _tests(module):
    import unittest

    found = []
    for name in dir(module):
        case = getattr(module, name)
        if isinstance(case, type) and case is not unittest.TestCase:
            if issubclass(case, unittest.TestCase):
                found.extend((name, case, m) for m in dir(case) if m.startswith("test"))
    return sorted(found, key=lambda test: (test[0], test[2]))


def _attempt(case, method):
    test = case()
    test.setUp()
    try:
        getattr(test, method)()
    finally:
        test.tearDown()


def _run(test_id, case, method):
    print("@run", test_id)
    began_ms = time.ticks_ms()
    verdict = "@ok"
    try:
        _attempt(case, method)
    except AssertionError as error:
        verdict = "@fail"
        _report(error)
    except Exception as error:
        verdict = "@error"
        _report(error)
    print(verdict, test_id, time.ticks_diff(time.ticks_ms(), began_ms))


def main(argv):
    sys.path[:] = [".frozen"] + argv[2:]
    module = __import__(argv[1])
    tests = _tests(module)
    for class_name, case, method in tests:
        _run(class_name + "." + method, case, method)
    print("@end", len(tests))


main(sys.argv)
