"""The files in `vectors`: SHA-256 and number of cases. Written by `python -m tests.vectors.generate`."""

from __future__ import annotations

FILES: dict[str, tuple[str, int]] = {
    "encoding": ("a9d5eaf08e62131be7f3c2ba7cebb9d85fbe8e6187d69bfe83bed40f11a0cc86", 35),
    "residues": ("d084264c2285ce3e9ff45d050092ad07774b2308d0ea31c9870fa4a41e7076f1", 31),
    "prg": ("1e3c404f1a3e3113a214a2a36ad480519d3a345c94b5102ace5d484f45c3a84a", 13),
    "shamir": ("4a3e5c135503dd23d0f71c902a092ce67e37ae9a054963c7014a7652b03c2069", 23),
    "derivation": ("32705df7dc8dcfcd6289548e526ae3e33f5152e0547bfb0c77179801b1242f2c", 90),
    "aead": ("a11919e995e708059766303165493433101aa59cbd22b79a0a7f3c49cc3db42a", 15),
    "key_agreement": ("8135045be0801ed0f93b1904c5abfb07ec2428cb2764c82938e62ce1a02f7a94", 23),
    "signatures": ("df00b51bfc4e0700a6c7b0e645cb7afc1320a8e7f7111afdccf3d666e4bd9226", 41),
    "privacy": ("e9b78d848e28a2e62d1bf5f1dacc8399e555229a56f53fd7bdc292fcbdc128f3", 235),
    "statistics": ("2497393e30f72c6dfe9909b02a49dc5b0a18ff0dd6e75f5519f4d3b164c583e2", 95),
    "noisy_statistics": ("16799d6250661f15edf4888c13e1f7f518fe76124cd45c3de61bfc438017e49a", 46),
    "groups": ("7b40850ee77c5a7b4a6ce937949e78ca0baad6bb91c342ea549bd4587d680db0", 30),
    "hierarchy": ("70613d3a26a1d619025f3ae3d3f623ff53928e2758317773d7d0beab91ce650c", 31),
    "requests": ("91cc16008ce42b8dc0bc2c5ff69059ae238f7312f8483c29a01a564260dc4823", 28),
    "protocol": ("8c9c7bf89a56db5d2e62c77bfb694e06c8390faed20af79dcecc5e587b77b6b6", 48),
    "session-curious-sparse": ("d0e6c147873f6ce40b676d0cd015252c4bc2b9fed7ba68d51467d294443c51cc", 186),
    "session-curious-complete": ("1514e9e0ce74a0605d57b07b22ce289d691ec68efb05817968170f3341e90cea", 174),
    "session-semi-malicious": ("65f616367aa35a553c8dcf1e8b13dc1e34a16197aad58710f6363d4b05169836", 230),
    "session-malicious": ("9a8c612934c7fc304a5dd9c52193a67df81949b42360ed72569f57064419fa77", 254),
    "session-private-curious": ("4db720cbeddcde81c1663172cc74a5fd6cf5c0301797e5bc2661056dcbe61ffd", 98),
    "session-private-semi-malicious": ("740b4d4429b2e8c12ccb211cc3ee5760093041a7387d4f308edf311e10d17f5e", 112),
    "session-private-malicious": ("81bbeb54d8da762b16e557096bde52db22855ac1beed5b4fdec6b74ba6dcb5bc", 125),
    "session-private-records": ("fc9d6561822be6a1e46ca4c76235a8d9c0e596989d42dc515af9be7335285ad6", 128),
    "paillier-round": ("87aeea35cd932096702f9a0c4aefa5a87e544fd37e495423f7d447a517a009f8", 105),
    "paillier-round-once": ("a9a67ee9296641f37b6e422bb8c3db0e00ac340a8dfde51174ae28f60ff9d24e", 91),
    "ledger": ("8fa5ee33ab9d607f17df2c159662bf187081aa51c81fd66c4f5f50c58c6b551f", 124),
}
