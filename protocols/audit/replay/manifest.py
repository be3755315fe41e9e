"""The files in `vectors`: SHA-256 and number of cases. Written by `python -m tests.vectors.generate`."""

from __future__ import annotations

FILES: dict[str, tuple[str, int]] = {
    "encoding": ("a9d5eaf08e62131be7f3c2ba7cebb9d85fbe8e6187d69bfe83bed40f11a0cc86", 35),
    "residues": ("d084264c2285ce3e9ff45d050092ad07774b2308d0ea31c9870fa4a41e7076f1", 31),
    "prg": ("1e3c404f1a3e3113a214a2a36ad480519d3a345c94b5102ace5d484f45c3a84a", 13),
    "shamir": ("4a3e5c135503dd23d0f71c902a092ce67e37ae9a054963c7014a7652b03c2069", 23),
    "derivation": ("659d57844b348c4aa7f2230fca73fae29070018e2df0ac0c3c15ff65960d6d31", 64),
    "aead": ("a11919e995e708059766303165493433101aa59cbd22b79a0a7f3c49cc3db42a", 15),
    "key_agreement": ("8135045be0801ed0f93b1904c5abfb07ec2428cb2764c82938e62ce1a02f7a94", 23),
    "signatures": ("df00b51bfc4e0700a6c7b0e645cb7afc1320a8e7f7111afdccf3d666e4bd9226", 41),
    "privacy": ("a50ab80a70a726b7ef168694420f8a44971ed7e99b4361b63e140ca4c36489f7", 182),
    "protocol": ("5d35a45cfeccdd24847360711799bf14f06ac93cb6434c6c1e7fec50c88d602d", 18),
    "session-curious-sparse": ("1fb6cf37a10541eb40c86355e6aae1e6bbd8cca6a57132a7824a38713cb1f524", 174),
    "session-curious-complete": ("9992ccc0bdcabdd6d91e8b4bb2f9a02203bb2465c2740c6101361eee406ef979", 163),
    "session-semi-malicious": ("773c4ec41f954778f8315d31a19e931fa6f9614be62fff3ce0e068ace54292f1", 217),
    "session-malicious": ("01a7f49e106f64bd29c0c371ca4a958eddc704534c404e58da01433a9abab6ba", 209),
    "session-private-curious": ("3bfdfbc9ceb31df4da6666fc364af2d8ffbd4a5d46415ab532125a7fa02bb4e2", 97),
    "session-private-semi-malicious": ("763dffb4c51d1cbbaef977fede4eeb866d6cb24768d2b0be9a50fc4992be6877", 112),
    "session-private-malicious": ("df84f0e0e7d840e2b316c04a6be099d9e885ad666db8e152644e04c04c69f39d", 111),
    "paillier-round": ("a426a5dc5183a685c1e43557ed29fbb1586c099419f61a1ef9eb3b8472f449fe", 84),
    "ledger": ("7c68a1c4c6fff5229ef0edb569c7dcabdd9ad005751c537d37ae11ffa1f59116", 121),
}
