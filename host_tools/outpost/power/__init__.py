"""Battery life, predicted: the device's own scheduler over a scenario, priced by a profile."""

from outpost.power.predict import Prediction, predict
from outpost.power.profile import Profile
from outpost.power.sensing import Sensing, sensing_of

__all__ = ["Prediction", "Profile", "Sensing", "predict", "sensing_of"]
