"Names unit tests after what they test."

def unit_tests(name, tests):
    """Declares unit tests, and a test suite of them.

    Args:
      name: string, the suite's name, as `lock_file_test`.
      tests: dict from what is tested, as `faults`, to a rule made by `unittest.make`.
    """
    names = []
    for what, test in tests.items():
        names.append(name.removesuffix("_test") + "_" + what + "_test")
        test(name = names[-1], size = "small")
    native.test_suite(name = name, tests = names)
