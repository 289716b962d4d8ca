"""URLs that are invalid or unusual."""

import random

HOSTILE_URLS = [
    "https://[v1.a]*:1@", "http://xn--a.example/x.jpg", "http://xn--/", "http://xn--ls8h.test", "http://[::1%25lo]/",
    "http://\ud800/", "http://x.test/\ud800", "http://x.test/\udce9", "http://[", "http://]/", "http://[]/", "http://@/",
    "http://:80/", "http://x:0x50/", "http://x:８０/", "http://x:99999/", "http://" + "a" * 64 + ".test/",
    "http://" + "a." * 200, "http://a..b/", "http://.a/", "http://-a-/", "http://%00/", "http://%/", "http://%zz/",
    "http://a%2fb/", "http://a%5cb/", "http://\u2100.test/", "http://ａ.test／b", "http://\u3002/", "http://\u00ad/",
    "http://\u200d.test/", "http://ß.test/", "HTTP://x/", "http:\\\\x\\a", "http:/x", "http:x", "http:", ":", "//", "",
    "http://1.2.3.4.5/", "http://256.256.256.256/", "http://0x/", "http://1e3/", "http://127.0.0.1\\@x.test/",
    "http://x" + "/.." * 10_000, "http://x/" + "%" * 10_000, "http://" + "@" * 10_000 + "x/", "javascript:alert(1)",
    "http://x?" + "a" * 100_000, "http://x\u2028y/", "\ufeffhttp://x/", "http://[::ffff:1.2.3.4]/", "http://[1::2::3]/",
    "http://[v1.x]/", "http://x:1:2/", "http://א.א1/", "http://xn--0/", "http://xn--aaaaaaaaaaaaaaaa\u00e9/",
]  # fmt: skip


def hostile_urls() -> list[str]:
    """Return those of HOSTILE_URLS and of 400 random texts that a list in UTF-8 can contain."""
    draw = random.Random(0)
    alphabet = "ab1.:@/\\?#[]%0-_xn\t é©ß①。\u200d\u2028\x00漢🦊"
    made = [
        draw.choice(["", "http://", "https://", "//", "http://xn--", "http://[", "http://127.0.0.1:1/"])
        + "".join(draw.choice(alphabet) for _ in range(draw.randrange(20)))
        for _ in range(400)
    ]
    return [
        url
        for url in dict.fromkeys([*HOSTILE_URLS, *made])
        if url.isascii() or url.encode(errors="ignore").decode() == url
    ]
