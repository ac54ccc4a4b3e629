//! Points in time and spans of time, as people write and read them. Times are shown in UTC, so that two people who look
//! at one receipt see the same text.

use std::time::{SystemTime, UNIX_EPOCH};

/// Seconds of a day.
const DAY: u64 = 86_400;

/// Unix seconds, by the system's clock.
pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// Unix seconds as `2026-11-21T10:34:05Z`.
pub(crate) fn rfc3339(seconds: u64) -> String {
    let (year, month, day) = civil(seconds / DAY);
    let rest = seconds % DAY;
    format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z", rest / 3600, rest / 60 % 60, rest % 60)
}

/// A span of seconds in its two largest units: `3 h 5 min`.
pub(crate) fn span(seconds: u64) -> String {
    let units = [("d", DAY), ("h", 3600), ("min", 60), ("s", 1)];
    let mut parts = Vec::new();
    let mut rest = seconds;
    for (name, size) in units {
        if rest >= size && parts.len() < 2 {
            parts.push(format!("{} {name}", rest / size));
        }
        rest %= size;
    }
    if parts.is_empty() { "0 s".to_owned() } else { parts.join(" ") }
}

/// A span of time: `90`, `90s`, `10m`, `2h`, `1d` or `1w`, in seconds.
pub(crate) fn parse_span(text: &str) -> Result<u64, String> {
    let wrong = || format!("{text:?} is not a span of time; write for example 90, 90s, 10m, 2h, 1d or 1w");
    let digits = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let unit = match text.get(digits.len()..) {
        Some("" | "s") => 1,
        Some("m" | "min") => 60,
        Some("h") => 3600,
        Some("d") => DAY,
        Some("w") => 7 * DAY,
        _ => return Err(wrong()),
    };
    if !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return Err(wrong());
    }
    digits.parse::<u64>().ok().and_then(|count| count.checked_mul(unit)).ok_or_else(wrong)
}

/// A point in time: Unix seconds, or RFC 3339 such as `2026-11-21T10:34:05Z`, or a date alone.
pub(crate) fn parse_moment(text: &str) -> Result<u64, String> {
    if !text.is_empty() && text.bytes().all(|digit| digit.is_ascii_digit()) {
        return text.parse().map_err(|_| format!("{text} is too large a time"));
    }
    parse_rfc3339(text).ok_or_else(|| {
        format!(
            "{text:?} is not a time; write Unix seconds, 2026-11-21T10:34:05Z or 2026-11-21 (midnight, UTC)"
        )
    })
}

/// A point in time that may also be written as a span before now: `10m` is ten minutes ago.
pub(crate) fn parse_since(text: &str) -> Result<u64, String> {
    let is_span = text.ends_with(|letter: char| letter.is_ascii_lowercase()) && !text.contains('-');
    if is_span { Ok(now().saturating_sub(parse_span(text)?)) } else { parse_moment(text) }
}

fn parse_rfc3339(text: &str) -> Option<u64> {
    let (date, time) = match text.split_once(['T', 't', ' ']) {
        Some((date, time)) => (date, Some(time)),
        None => (text, None),
    };
    let mut parts = date.split('-');
    let (year, month, day) =
        (number(parts.next()?, 4)?, number(parts.next()?, 2)?, number(parts.next()?, 2)?);
    if parts.next().is_some() || year < 1970 {
        return None;
    }
    let days = days(year, month, day)?;
    let midnight = days * DAY;
    let Some(time) = time else { return Some(midnight) };

    let (clock, offset) = match time.strip_suffix(['Z', 'z']) {
        Some(clock) => (clock, 0),
        None => {
            let sign_at = time.rfind(['+', '-'])?;
            let (clock, offset) = time.split_at_checked(sign_at)?;
            let (hours, minutes) = offset.get(1..)?.split_once(':')?;
            let (hours, minutes) = (number(hours, 2)?, number(minutes, 2)?);
            if hours > 23 || minutes > 59 {
                return None;
            }
            let seconds = i64::try_from(hours * 3600 + minutes * 60).ok()?;
            (clock, if offset.starts_with('-') { -seconds } else { seconds })
        }
    };
    // Fractions of a second are dropped: the log counts whole ones.
    let clock = match clock.split_once('.') {
        Some((whole, fraction))
            if !fraction.is_empty() && fraction.bytes().all(|digit| digit.is_ascii_digit()) =>
        {
            whole
        }
        Some(_) => return None,
        None => clock,
    };
    let mut parts = clock.split(':');
    let (hour, minute, second) =
        (number(parts.next()?, 2)?, number(parts.next()?, 2)?, number(parts.next()?, 2)?);
    if parts.next().is_some() || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    (midnight + hour * 3600 + minute * 60 + second).checked_add_signed(-offset)
}

fn number(text: &str, digits: usize) -> Option<u64> {
    let plain = text.len() == digits && text.bytes().all(|digit| digit.is_ascii_digit());
    if plain { text.parse().ok() } else { None }
}

/// Days from 1970-01-01 to that day of the Gregorian calendar; none when there is no such day.
fn days(year: u64, month: u64, day: u64) -> Option<u64> {
    if !(1..=12).contains(&month) || day == 0 {
        return None;
    }
    // The year begins in March here, so that the leap day is its last (Hinnant, "chrono-compatible date algorithms").
    let shifted = if month <= 2 { year - 1 } else { year };
    let (era, of_era) = (shifted / 400, shifted % 400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let days = (era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year).checked_sub(719_468)?;
    (civil(days) == (year, month, day)).then_some(days)
}

/// Year, month and day of that many days after 1970-01-01.
fn civil(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_and_read_back() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_709_164_799, "2024-02-28T23:59:59Z"),
            (1_795_257_245, "2026-11-21T10:34:05Z"),
            (4_102_444_799, "2099-12-31T23:59:59Z"),
        ] {
            assert_eq!(rfc3339(seconds), text);
            assert_eq!(parse_moment(text), Ok(seconds));
        }
    }

    #[test]
    fn offsets_fractions_and_bare_dates_are_read() {
        let noon = parse_moment("2026-11-21T12:00:00Z");
        assert_eq!(parse_moment("2026-11-21T13:30:00+01:30"), noon);
        assert_eq!(parse_moment("2026-11-21T05:00:00.250-07:00"), noon);
        assert_eq!(parse_moment("2026-11-21"), noon.map(|noon| noon - 12 * 3600));
        assert_eq!(parse_moment("1700000000"), Ok(1_700_000_000));
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for text in [
            "",
            "2026-02-30",
            "2026-13-01",
            "2026-11-21T25:00:00Z",
            "2026-11-21T10:00Z",
            "-1",
            "soon",
            "2026-11",
        ] {
            assert!(parse_moment(text).is_err(), "{text:?}");
        }
        for text in ["", "m", "-5m", "5 m", "1.5h", "99999999999999999999d"] {
            assert!(parse_span(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn spans_are_read_and_written() {
        assert_eq!(parse_span("10m"), Ok(600));
        assert_eq!(parse_span("90"), Ok(90));
        assert_eq!(span(90_061), "1 d 1 h");
        assert_eq!(span(59), "59 s");
        assert_eq!(span(0), "0 s");
    }
}
