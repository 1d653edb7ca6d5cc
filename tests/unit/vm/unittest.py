"""As much of `unittest` as the unit tests use, for the MicroPython VM, which has none.

Only what is listed here exists: a test that uses more fails with an AttributeError on the VM,
which is the point. Nothing here prints or decides a verdict: `run.py` reports, and the host
judges.
"""


def _differ(first, second, msg):
    return msg or "%r != %r" % (first, second)


class _Raises:
    """The context of `with self.assertRaises(...) as caught`."""

    def __init__(self, expected):
        self._expected = expected
        self.exception = None

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        if kind is None:
            raise AssertionError("%r not raised" % (self._expected,))
        if not issubclass(kind, self._expected):
            return False
        self.exception = error
        return True


class TestCase:
    def setUp(self):
        pass

    def tearDown(self):
        pass

    def fail(self, msg=None):
        raise AssertionError(msg)

    def _check(self, held, msg):
        if not held:
            raise AssertionError(msg)

    def assertTrue(self, value, msg=None):
        self._check(value, msg or "%r is not true" % (value,))

    def assertFalse(self, value, msg=None):
        self._check(not value, msg or "%r is not false" % (value,))

    def assertEqual(self, first, second, msg=None):
        self._check(first == second, _differ(first, second, msg))

    def assertNotEqual(self, first, second, msg=None):
        self._check(not first == second, msg or "%r == %r" % (first, second))

    def assertIs(self, first, second, msg=None):
        self._check(first is second, msg or "%r is not %r" % (first, second))

    def assertIsNot(self, first, second, msg=None):
        self._check(first is not second, msg or "unexpectedly %r" % (first,))

    def assertIsNone(self, value, msg=None):
        self._check(value is None, msg or "%r is not None" % (value,))

    def assertIsNotNone(self, value, msg=None):
        self._check(value is not None, msg or "unexpectedly None")

    def assertIn(self, member, container, msg=None):
        self._check(member in container, msg or "%r not in %r" % (member, container))

    def assertNotIn(self, member, container, msg=None):
        self._check(member not in container, msg or "%r in %r" % (member, container))

    def assertIsInstance(self, value, kind, msg=None):
        self._check(isinstance(value, kind), msg or "%r is not a %r" % (value, kind))

    def assertLess(self, first, second, msg=None):
        self._check(first < second, msg or "%r not < %r" % (first, second))

    def assertLessEqual(self, first, second, msg=None):
        self._check(first <= second, msg or "%r not <= %r" % (first, second))

    def assertGreater(self, first, second, msg=None):
        self._check(first > second, msg or "%r not > %r" % (first, second))

    def assertGreaterEqual(self, first, second, msg=None):
        self._check(first >= second, msg or "%r not >= %r" % (first, second))

    def assertAlmostEqual(self, first, second, places=None, msg=None, delta=None):
        if first == second:
            return
        if delta is not None:
            held = abs(first - second) <= delta
        else:
            held = round(abs(first - second), 7 if places is None else places) == 0
        self._check(held, _differ(first, second, msg))

    def assertRaises(self, expected, function=None, *args, **kwargs):
        context = _Raises(expected)
        if function is None:
            return context
        with context:
            function(*args, **kwargs)


def main():
    """Test files may end in `unittest.main()`; on the VM `run.py` runs them."""
