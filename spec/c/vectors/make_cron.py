#!/usr/bin/env python3
"""Makes cron.txt, the expected answers of test_cron.c, by another way than csrc/base/cron.c goes: every minute
of a span of time is tried, with Python's zoneinfo and calendar, and nothing is computed ahead.

    spec/c/vectors/make_cron.py > spec/c/vectors/cron.txt

A line: expression | zone | from | the next times after it. Times are seconds since 1970, UTC."""
import calendar
import datetime as dt
import random
from zoneinfo import ZoneInfo

UTC = dt.timezone.utc
MONTHS = {name.lower(): i for i, name in enumerate(calendar.month_abbr) if name}
DAYS = {"sun": 0, "mon": 1, "tue": 2, "wed": 3, "thu": 4, "fri": 5, "sat": 6}


def number(text, names):
    return names[text.lower()] if text.lower() in names else int(text)


def plain(item, low, high, names):
    """The numbers of one part of a list."""
    item, _, step = item.partition("/")
    if item == "*":
        first, last = low, high
    elif "-" in item:
        first, last = (number(x, names) for x in item.split("-"))
    else:
        first = number(item, names)
        last = high if step else first
    return set(range(first, last + 1, int(step or 1)))


def weekday(day):
    return (day.weekday() + 1) % 7


def nearest(year, month, day):
    """nW: the weekday nearest to that day within its month."""
    last = calendar.monthrange(year, month)[1]
    if day > last:
        return None
    for distance in (0, -1, 1, -2, 2):
        n = day + distance
        if 1 <= n <= last and dt.date(year, month, n).weekday() < 5:
            return n
    return None


def day_of_month(field, day):
    last = calendar.monthrange(day.year, day.month)[1]
    for item in field.split(","):
        if item.upper() == "L":
            if day.day == last:
                return True
        elif item.upper() == "LW":
            if day.day == nearest(day.year, day.month, last):
                return True
        elif item.upper().endswith("W"):
            if day.day == nearest(day.year, day.month, int(item[:-1])):
                return True
        elif day.day in plain(item, 1, 31, {}):
            return True
    return False


def day_of_week(field, day):
    last = calendar.monthrange(day.year, day.month)[1]
    for item in field.split(","):
        if "#" in item:
            which, nth = item.split("#")
            if weekday(day) == number(which, DAYS) % 7 and (day.day - 1) // 7 + 1 == int(nth):
                return True
        elif item.upper().endswith("L"):
            if weekday(day) == number(item[:-1], DAYS) % 7 and day.day + 7 > last:
                return True
        elif weekday(day) in {n % 7 for n in plain(item, 0, 6 if item[0] == "*" else 7, DAYS)}:
            return True
    return False


class Cron:
    def __init__(self, text):
        self.minute, self.hour, self.dom, self.month, self.dow = text.split()
        self.minutes = set().union(*(plain(i, 0, 59, {}) for i in self.minute.split(",")))
        self.hours = set().union(*(plain(i, 0, 23, {}) for i in self.hour.split(",")))
        self.months = set().union(*(plain(i, 1, 12, MONTHS) for i in self.month.split(",")))
        self.real_hours = self.hour == "*" or (self.hour.startswith("*/") and "," not in self.hour)
        self.known = {}

    def day(self, day):
        if day not in self.known:
            dom, dow = day_of_month(self.dom, day), day_of_week(self.dow, day)
            given = not self.dom.startswith("*") and not self.dow.startswith("*")
            self.known[day] = day.month in self.months and ((dom or dow) if given else (dom and dow))
        return self.known[day]

    def matches(self, local):
        return local.minute in self.minutes and local.hour in self.hours and self.day(local.date())


def fires(cron, zone, begin, minutes):
    """All moments of so many minutes from begin on."""
    found = set()
    if cron.real_hours:
        for i in range(minutes):
            utc = begin + dt.timedelta(minutes=i)
            if cron.matches(utc.astimezone(zone)):
                found.add(int(utc.timestamp()))
        return sorted(found)
    local = begin.astimezone(zone).replace(tzinfo=None, second=0)
    for i in range(minutes):
        at = local + dt.timedelta(minutes=i)
        if not cron.matches(at):
            continue
        utc = at.replace(tzinfo=zone, fold=0).astimezone(UTC)
        if utc.astimezone(zone).replace(tzinfo=None) != at:  # jumped over: back to the jump
            offset = utc.astimezone(zone).utcoffset()
            while (utc - dt.timedelta(minutes=1)).astimezone(zone).utcoffset() == offset:
                utc -= dt.timedelta(minutes=1)
        found.add(int(utc.timestamp()))
    return sorted(found)


def transitions(zone, first, last):
    """The hours before which the offset changes."""
    at, before = dt.datetime(first, 1, 1, tzinfo=UTC), None
    while at.year <= last:
        offset = at.astimezone(zone).utcoffset()
        if before is not None and offset != before:
            yield at
        before = offset
        at += dt.timedelta(hours=1)


def show(text, zone, begin, days, most=12):
    found = fires(Cron(text), ZoneInfo(zone), begin, days * 1440)
    begin = int(begin.timestamp())
    found = [t for t in found if t > begin][:most]
    if found:
        print("%s | %s | %d | %s" % (text, zone, begin, " ".join(map(str, found))))


ZONES = {
    "Europe/Berlin": (2019, 2040),
    "America/New_York": (2019, 2040),
    "Australia/Lord_Howe": (2019, 2040),
    "America/Sao_Paulo": (2005, 2021),
    "Asia/Kathmandu": (1985, 1987),
    "Africa/Casablanca": (2024, 2026),
    "Europe/Dublin": (2024, 2039),
    "America/St_Johns": (2005, 2012),
}
AROUND = [
    "30 2 * * *", "0 2 * * *", "15 2,3 * * *", "*/10 1-3 * * *", "0 0 * * *", "30 1 * * *", "45 1 * * *",
    "5 0-3 * * *", "*/20 * * * *", "30 */2 * * *", "15 * * * *", "0 */1 * * *", "59 23 * * *", "10 0 * * 0",
]
CALENDAR = [
    "0 12 29 2 *", "0 0 L * *", "0 0 LW * *", "30 6 15W * *", "30 6 1W * *", "0 9 * * 5L", "0 9 * * fri#3",
    "0 9 * * 1#5", "0 0 13 * 5", "0 0 */10 * 1", "0 0 1-7 * */2", "0 0 31 * *", "0 0 1 jan,jul *",
    "0 22 * * mon-fri", "0 8 * * 6-7", "0 8 * * 7", "15 10 L,15 2-4 *", "0 0 30W * *", "0 0 31W * *",
    "0 0 * 2 1L", "0 0 28-31 2 *", "5/20 3/7 10/9 * *", "0 0 29 2 *", "0 12 * * SUNL,MON#1",
]

print("# expression | zone | from | the next times after it; made by make_cron.py")
random.seed(20261121)
for name, (first, last) in ZONES.items():
    for at in transitions(ZoneInfo(name), first, last):
        for text in random.sample(AROUND, 4):
            show(text, name, at - dt.timedelta(hours=random.choice((1, 3, 26))), 4)
for text in CALENDAR:
    for begin in (dt.datetime(2023, 12, 30, 5, 17, tzinfo=UTC), dt.datetime(2026, 2, 27, 22, 59, tzinfo=UTC)):
        show(text, "UTC", begin, 800, 6)
        show(text, "America/New_York", begin, 800, 6)


def field(low, high):
    kind = random.randrange(6)
    a, b = sorted((random.randint(low, high), random.randint(low, high)))
    return [
        "*", "*/%d" % random.randint(1, 9), "%d" % a, "%d-%d" % (a, b), "%d-%d/%d" % (a, b, random.randint(1, 5)),
        "%d,%d" % (a, b),
    ][kind]


for _ in range(300):
    name = random.choice(list(ZONES))
    text = " ".join((field(0, 59), field(0, 23), field(1, 28), field(1, 12), field(0, 7)))
    first, last = ZONES[name]
    begin = dt.datetime(random.randint(first, last), random.randint(1, 12), random.randint(1, 28),
                        random.randint(0, 23), random.randint(0, 59), tzinfo=UTC)
    show(text, name, begin, 40, 8)
