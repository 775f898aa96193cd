"What analysis tests look up in a target's actions."

load("@bazel_skylib//lib:unittest.bzl", "analysistest", "asserts")

def only_action(env, mnemonic):
    """Finds the target's one action of a mnemonic.

    Args:
      env: the test's environment.
      mnemonic: string.

    Returns:
      The action.
    """
    actions = [a for a in analysistest.target_actions(env) if a.mnemonic == mnemonic]
    asserts.equals(env, 1, len(actions), "number of actions " + mnemonic)
    return actions[0]

def action_arguments(action):
    """An action's arguments, without the program; what is in a param file is shown as if given directly.

    Args:
      action: the action.

    Returns:
      list of strings.
    """
    return [a for a in action.argv[1:] if not a.startswith("@")]
