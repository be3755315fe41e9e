"""The files in `vectors`: SHA-256 and number of cases. Written by `python -m tests.vectors.generate`."""

from __future__ import annotations

FILES: dict[str, tuple[str, int]] = {
    "encoding": ("a9d5eaf08e62131be7f3c2ba7cebb9d85fbe8e6187d69bfe83bed40f11a0cc86", 35),
    "residues": ("d084264c2285ce3e9ff45d050092ad07774b2308d0ea31c9870fa4a41e7076f1", 31),
    "prg": ("1e3c404f1a3e3113a214a2a36ad480519d3a345c94b5102ace5d484f45c3a84a", 13),
    "shamir": ("4a3e5c135503dd23d0f71c902a092ce67e37ae9a054963c7014a7652b03c2069", 23),
    "derivation": ("c5594fb97e139b4e9056b2ceba379ed4e0999b4ed9069bf86a9b73949079811a", 70),
    "aead": ("a11919e995e708059766303165493433101aa59cbd22b79a0a7f3c49cc3db42a", 15),
    "key_agreement": ("8135045be0801ed0f93b1904c5abfb07ec2428cb2764c82938e62ce1a02f7a94", 23),
    "signatures": ("df00b51bfc4e0700a6c7b0e645cb7afc1320a8e7f7111afdccf3d666e4bd9226", 41),
    "privacy": ("a44a11e1f6541580e26f5842758815c7af6a21d6ecd32640cc8d95f384e1eac2", 190),
    "protocol": ("5d35a45cfeccdd24847360711799bf14f06ac93cb6434c6c1e7fec50c88d602d", 18),
    "session-curious-sparse": ("1fb6cf37a10541eb40c86355e6aae1e6bbd8cca6a57132a7824a38713cb1f524", 174),
    "session-curious-complete": ("9992ccc0bdcabdd6d91e8b4bb2f9a02203bb2465c2740c6101361eee406ef979", 163),
    "session-semi-malicious": ("773c4ec41f954778f8315d31a19e931fa6f9614be62fff3ce0e068ace54292f1", 217),
    "session-malicious": ("01a7f49e106f64bd29c0c371ca4a958eddc704534c404e58da01433a9abab6ba", 209),
    "session-private-curious": ("cad7b0599937b805b7eb91700e645f905aa66a94f1c3573d041de3782c8221a9", 96),
    "session-private-semi-malicious": ("787e1433df5535038884a35aace3d12025e1aa3cc73c4c83caf95e345bb18acb", 110),
    "session-private-malicious": ("4653b7dcc0ee3a66c1736f24ca80df4236ceee8820a097645582b86a251524af", 108),
    "paillier-round": ("7ae571cd4a01c3dd812c802e01e316c4ac437cfdeea3e298cf7a6b4c9e4963c5", 100),
    "paillier-round-once": ("81dd1751b119974009d5af744994a4e8b1ab5613f20ffc8941790b8348813ff3", 86),
    "ledger": ("7c68a1c4c6fff5229ef0edb569c7dcabdd9ad005751c537d37ae11ffa1f59116", 121),
}
