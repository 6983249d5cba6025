//! Formats times for the log.

use std::time::Duration;

use crate::text::digits;

/// Appends a number with `N` digits; it must be less than ten to the power of `N`.
fn padded<const N: usize>(mut number: u64, out: &mut Vec<u8>) {
    let mut digits = [b'0'; N];
    for digit in digits.iter_mut().rev() {
        *digit = digits::of(number % 10);
        number /= 10;
    }
    out.extend_from_slice(&digits);
}

/// Appends milliseconds with three decimal places.
pub(super) fn millis(duration: Duration, out: &mut Vec<u8>) {
    let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
    digits::push(micros / 1000, out);
    out.push(b'.');
    padded::<3>(micros % 1000, out);
}

/// Appends a time, given in milliseconds since 1970, as in RFC 3339: `2026-11-23T03:24:05.678Z`. Years from 10000 on have
/// five or more digits.
pub fn rfc3339(millis: u64, out: &mut Vec<u8>) {
    let (days, of_day) = (millis / 86_400_000, millis % 86_400_000);
    let (year, month, day) = date(days);
    if year < 10_000 {
        padded::<4>(year, out);
    } else {
        digits::push(year, out);
    }
    out.push(b'-');
    padded::<2>(month, out);
    out.push(b'-');
    padded::<2>(day, out);
    out.push(b'T');
    padded::<2>(of_day / 3_600_000, out);
    out.push(b':');
    padded::<2>(of_day / 60_000 % 60, out);
    out.push(b':');
    padded::<2>(of_day / 1000 % 60, out);
    out.push(b'.');
    padded::<3>(of_day % 1000, out);
    out.push(b'Z');
}

/// Year, month and day of a number of days after 1970-01-01, in the Gregorian calendar.
fn date(days: u64) -> (u64, u64, u64) {
    // Years are counted from 1 March of the year 0, so that a leap day is the last day of its year.
    let days = days + 719_468;
    let (era, day) = (days / 146_097, days % 146_097); // An era is 400 years.
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let of_year = day - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153; // March is 0.
    let day = of_year - (153 * month + 2) / 5 + 1;
    let (month, carry) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    (era * 400 + year + carry, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn moments() {
        for (at, shown) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_399_999, "2000-02-28T23:59:59.999Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (951_868_800_000, "2000-03-01T00:00:00.000Z"),
            (1_709_164_800_001, "2024-02-29T00:00:00.001Z"),
            (1_795_404_245_678, "2026-11-23T03:24:05.678Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00.000Z"),
            (253_402_300_799_999, "9999-12-31T23:59:59.999Z"),
            (253_402_300_800_000, "10000-01-01T00:00:00.000Z"),
        ] {
            assert_eq!(text(|out| rfc3339(at, out)), shown);
        }
    }

    #[test]
    fn every_day_follows_the_one_before() {
        let mut before = date(0);
        for days in 1..400 * 366 {
            let (year, month, day) = date(days);
            let next = match before {
                (year, 12, 31) => (year + 1, 1, 1),
                _ if day == 1 => (before.0, before.1 + 1, 1),
                (year, month, day) => (year, month, day + 1),
            };
            assert_eq!((year, month, day), next);
            assert!((1..=12).contains(&month) && (1..=31).contains(&day));
            before = next;
        }
    }

    #[test]
    fn durations() {
        assert_eq!(text(|out| millis(Duration::from_micros(12_345), out)), "12.345");
        assert_eq!(text(|out| millis(Duration::from_nanos(999), out)), "0.000");
        assert_eq!(text(|out| millis(Duration::from_secs(600), out)), "600000.000");
    }
}
