//! Query strings, strictly: what a route does not know is refused, or a
//! misspelled limit would be no limit.

use percent_encoding::percent_decode_str;

use super::problem::Problem;

/// A query whose names the route knows, none of them twice.
#[derive(Debug, Default)]
pub(crate) struct Query(Vec<(String, String)>);

impl Query {
    /// Takes a query string apart.
    pub(crate) fn parse<'a>(text: &str, known: impl Iterator<Item = &'a str> + Clone) -> Result<Self, Problem> {
        let mut pairs: Vec<(String, String)> = Vec::new();
        for part in text.split('&').filter(|part| !part.is_empty()) {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            let (name, value) = (decode(name)?, decode(value)?);
            if !known.clone().any(|known| known == name) {
                let names: Vec<&str> = known.collect();
                let known = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
                return Err(
                    Problem::usage(format!("there is no parameter {name:?} here")).hint(format!("known: {known}"))
                );
            }
            if pairs.iter().any(|(other, _)| *other == name) {
                return Err(Problem::usage(format!("the parameter {name} is given twice")));
            }
            pairs.push((name, value));
        }
        Ok(Self(pairs))
    }

    /// A value as it is.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The names that are there.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(name, _)| name.as_str())
    }

    /// A number, no greater than `most`.
    pub(crate) fn number(&self, name: &str, most: u64) -> Result<Option<u64>, Problem> {
        let Some(text) = self.text(name) else { return Ok(None) };
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        match text.parse::<u64>() {
            Ok(number) if digits && number <= most => Ok(Some(number)),
            _ => Err(Problem::usage(format!("{name} is a number from 0 to {most}, not {text:?}"))),
        }
    }

    /// A number from 1 to `most`.
    pub(crate) fn count(&self, name: &str, most: u64) -> Result<Option<u64>, Problem> {
        match self.number(name, most) {
            Ok(Some(0)) | Err(_) => {
                let text = self.text(name).unwrap_or_default();
                Err(Problem::usage(format!("{name} is a number from 1 to {most}, not {text:?}")))
            }
            known => known,
        }
    }

    /// `true` or `false`; false if absent.
    pub(crate) fn flag(&self, name: &str) -> Result<bool, Problem> {
        match self.text(name) {
            Some("true") => Ok(true),
            None | Some("false") => Ok(false),
            Some(text) => Err(Problem::usage(format!("{name} is true or false, not {text:?}"))),
        }
    }
}

fn decode(text: &str) -> Result<String, Problem> {
    let spaces = text.replace('+', " ");
    let decoded = percent_decode_str(&spaces).decode_utf8();
    decoded.map(|text| text.into_owned()).map_err(|_| Problem::usage("the query is not UTF-8"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Query, Problem> {
        Query::parse(text, ["a", "n", "f"].into_iter())
    }

    #[test]
    fn queries_are_taken_apart() {
        let query = parse("a=x%2F..+%C3%A9&n=7&&f=true").unwrap();
        assert_eq!(query.text("a"), Some("x/.. é"));
        assert_eq!(query.number("n", 7).unwrap(), Some(7));
        assert!(query.flag("f").unwrap());
        assert!(!parse("").unwrap().flag("f").unwrap());
    }

    #[test]
    fn what_is_not_known_or_not_sound_is_refused() {
        for bad in ["b=1", "a=1&a=2", "a=%ff", "%61=1&a=2"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
        for bad in ["n=", "n=-1", "n=+1", "n=8", "n=99999999999999999999", "n=1e1"] {
            assert!(parse(bad).unwrap().number("n", 7).is_err(), "{bad}");
        }
        assert!(parse("f=1").unwrap().flag("f").is_err());
        assert!(parse("n=0").unwrap().count("n", 7).is_err());
        assert_eq!(parse("n=7").unwrap().count("n", 7).unwrap(), Some(7));
        assert_eq!(parse("").unwrap().count("n", 7).unwrap(), None);
    }
}
