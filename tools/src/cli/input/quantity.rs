//! Rates and times as people write them on a command line.

use std::time::Duration;

/// Bytes a second: `1KiB/s`, `20MB/s`, `500`.
pub(crate) fn rate(text: &str) -> Result<u64, String> {
    let forms = || format!("{text:?} is no rate: write 500B/s, 1KiB/s, 20MB/s");
    let amount = text.strip_suffix("/s").unwrap_or(text).trim();
    let digits = amount.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(amount.len());
    let (number, unit) = amount.split_at(digits);
    let number: f64 = number.parse().map_err(|_| forms())?;
    let factor = match unit.trim() {
        "" | "B" => 1.0,
        "kB" | "KB" | "k" => 1e3,
        "KiB" | "K" => 1024.0,
        "MB" | "M" => 1e6,
        "MiB" => 1024.0 * 1024.0,
        "GB" | "G" => 1e9,
        "GiB" => 1024.0 * 1024.0 * 1024.0,
        _ => return Err(forms()),
    };
    let rate = number * factor;
    if (1.0..1e15).contains(&rate) { Ok(rate as u64) } else { Err(forms()) }
}

/// A span of time: `30s`, `5m`, `500ms`, `2h`.
pub(crate) fn time(text: &str) -> Result<Duration, String> {
    let forms = || format!("{text:?} is no span of time: write 500ms, 30s, 5m, 2h");
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().map_err(|_| forms())?;
    let millis = match unit {
        "ms" => 1,
        "" | "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return Err(forms()),
    };
    let time = number.checked_mul(millis).filter(|millis| (1..=86_400_000).contains(millis)).ok_or_else(forms)?;
    Ok(Duration::from_millis(time))
}

/// A long span of time: `90d`, `12w`, `24h`. At most two hundred years.
pub(crate) fn span(text: &str) -> Result<Duration, String> {
    let forms = || format!("{text:?} is no span of time: write 24h, 90d, 12w");
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().map_err(|_| forms())?;
    let unit = UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(forms)?;
    let seconds = number.checked_mul(unit.1).filter(|seconds| (1..=MAX_SPAN_SECONDS).contains(seconds));
    Ok(Duration::from_secs(seconds.ok_or_else(forms)?))
}

/// The same as people write it.
pub(crate) fn in_words(span: Duration) -> String {
    let seconds = span.as_secs();
    let of_days = UNITS.iter().skip(1).find(|(_, unit)| seconds.is_multiple_of(*unit)).copied();
    let (name, unit) = of_days.unwrap_or(("s", 1));
    format!("{}{name}", seconds.checked_div(unit).unwrap_or(seconds))
}

/// The larger before the smaller.
const UNITS: [(&str, u64); 5] = [("w", 604_800), ("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1)];

const MAX_SPAN_SECONDS: u64 = 200 * 366 * 86_400;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_and_times_are_read() {
        assert_eq!(rate("1KiB/s").unwrap(), 1024);
        assert_eq!(rate("1.5 MB/s").unwrap(), 1_500_000);
        assert_eq!(rate("500").unwrap(), 500);
        for wrong in ["", "0", "fast", "1 Kib/s", "-1", "1e300", "NaN"] {
            assert!(rate(wrong).is_err(), "{wrong}");
        }
        assert_eq!(span("90d").unwrap(), Duration::from_secs(90 * 86_400));
        for text in ["90d", "24d", "25h", "61m", "1s"] {
            assert_eq!(in_words(span(text).unwrap()), text);
        }
        assert_eq!(in_words(span("12w").unwrap()), "84d");
        for wrong in ["", "0d", "d", "1y", "-1d", "90", "99999999999999999999d", "80000d"] {
            assert!(span(wrong).is_err(), "{wrong}");
        }
        assert_eq!(time("30s").unwrap(), Duration::from_secs(30));
        assert_eq!(time("500ms").unwrap(), Duration::from_millis(500));
        for wrong in ["", "0", "1d", "s", "-1s", "99999999999999999999s", "25h"] {
            assert!(time(wrong).is_err(), "{wrong}");
        }
    }
}
