//! Sentences to intents, by a closed grammar: what does not fit it exactly is not understood.
//!
//! A sentence chooses one of a few shapes and names things; nothing else of it is used. Risk is never read from words.

use std::sync::LazyLock;

use regex::Regex;

use super::Intent;

/// A name, `kind/name`; what it resolves to is decided against the target.
const THING: &str =
    r"(?:the\s+)?(?:service\s+)?((?:[a-z]+/)?[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?)(?:\s+service)?";

static SCALE: LazyLock<Regex> =
    LazyLock::new(|| shape(&format!(r"scale\s+{THING}\s+to\s+(\d{{1,4}})(?:\s+replicas?)?")));
static RESTART: LazyLock<Regex> =
    LazyLock::new(|| shape(&format!(r"(?:restart|rollout\s+restart)\s+{THING}")));
static ROLL_BACK: LazyLock<Regex> = LazyLock::new(|| {
    shape(&format!(
        r"(?:roll\s?back|undo\s+the\s+roll-?out\s+of)\s+{THING}(?:\s+to\s+revision\s+(\d{{1,9}}))?"
    ))
});
static REVERT: LazyLock<Regex> = LazyLock::new(|| shape(r"revert\s+(?:commit\s+)?([0-9a-f]{7,64})"));
static REVERT_LAST: LazyLock<Regex> = LazyLock::new(|| {
    shape(&format!(
        r"revert\s+(?:the\s+)?(?:last|latest)\s+(?:change|commit)\s+(?:of|to)\s+{THING}"
    ))
});

/// The intent that `sentence` states, or what would have been understood.
pub(super) fn parse(sentence: &str) -> Result<Intent, &'static str> {
    let text = sentence.trim().trim_end_matches('.').to_lowercase();
    let group = |shape: &Regex, index: usize| {
        let found = shape.captures(&text)?;
        Some(found.get(index).map(|m| m.as_str().to_owned()))
    };
    if let (Some(Some(service)), Some(Some(count))) = (group(&SCALE, 1), group(&SCALE, 2)) {
        let replicas = count.parse().map_err(|_| NOT_UNDERSTOOD)?;
        return Ok(Intent::Scale { service, replicas });
    }
    if let Some(Some(service)) = group(&RESTART, 1) {
        return Ok(Intent::Restart { service });
    }
    if let Some(Some(service)) = group(&ROLL_BACK, 1) {
        let to_revision = group(&ROLL_BACK, 2)
            .flatten()
            .and_then(|digits| digits.parse().ok());
        return Ok(Intent::RollBack { service, to_revision });
    }
    if let Some(Some(service)) = group(&REVERT_LAST, 1) {
        return Ok(Intent::Revert {
            commit: None,
            last_change_of: Some(service),
        });
    }
    if let Some(Some(commit)) = group(&REVERT, 1) {
        return Ok(Intent::Revert {
            commit: Some(commit),
            last_change_of: None,
        });
    }
    Err(NOT_UNDERSTOOD)
}

const NOT_UNDERSTOOD: &str = "no rule understands this. Understood are: `scale SERVICE to N`, `restart SERVICE`, \
    `roll back SERVICE [to revision N]`, `revert COMMIT`, `revert the last change of SERVICE`; or give typed steps";

fn shape(body: &str) -> Regex {
    Regex::new(&format!(r"^(?:please\s+)?{body}$")).expect("a constant pattern")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_sentences() {
        let service = || "checkout".to_owned();
        for (text, intent) in [
            (
                "scale checkout to 4",
                Intent::Scale {
                    service: service(),
                    replicas: 4,
                },
            ),
            (
                "Please scale the checkout service to 4 replicas.",
                Intent::Scale {
                    service: service(),
                    replicas: 4,
                },
            ),
            (
                "restart deployment/checkout",
                Intent::Restart {
                    service: "deployment/checkout".to_owned(),
                },
            ),
            (
                "roll back checkout",
                Intent::RollBack {
                    service: service(),
                    to_revision: None,
                },
            ),
            (
                "rollback checkout to revision 7",
                Intent::RollBack {
                    service: service(),
                    to_revision: Some(7),
                },
            ),
            (
                "revert 1a2b3c4",
                Intent::Revert {
                    commit: Some("1a2b3c4".to_owned()),
                    last_change_of: None,
                },
            ),
            (
                "revert the last change of checkout",
                Intent::Revert {
                    commit: None,
                    last_change_of: Some(service()),
                },
            ),
        ] {
            assert_eq!(parse(text), Ok(intent), "{text}");
        }
    }

    #[test]
    fn anything_else_is_not_understood() {
        for text in [
            "",
            "make it work",
            "delete namespace shop",
            "scale checkout",
            "scale checkout to many",
            "scale checkout to 4; rm -rf /",
            "scale checkout to 4 and restart payment",
            "restart --all",
            "restart",
            "do not restart checkout",
            "roll back",
            "revert zzz",
            "revert 12",
            "scale checkout to -1",
            "restart checkout\nrestart payment",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
