//! Who may ask what: the token of a request, its scope, and how often.

use std::net::IpAddr;

use axum::http::{HeaderMap, StatusCode, header};
use thingdb::{Token, TokenRefusal};
use zeroize::Zeroizing;

use super::call::Bearer;
use super::node::{Client, Node, Turn};
use super::problem::Problem;
use super::route::Needs;

/// Lets a request through, or says why not. Whoever is not known here learns
/// nothing but that.
pub(crate) fn admit(
    node: &Node,
    needs: Needs,
    headers: &HeaderMap,
    address: IpAddr,
) -> Result<(Option<Bearer>, Option<Turn>), Problem> {
    if needs == Needs::Nothing {
        return Ok((None, None));
    }
    if needs == Needs::Signature {
        return Ok((None, Some(node.turn(Client::Address(address))?)));
    }
    let (token, text) = match known(node, headers) {
        Ok(known) => known,
        Err(problem) => {
            node.metrics.refused();
            node.spend(Client::Address(address))?;
            return Err(problem);
        }
    };
    let turn = node.turn(Client::Token(token.id))?;
    if let Needs::Scope(scope) = needs
        && !token.allows(scope)
    {
        node.metrics.refused();
        let detail = format!("the token has not the scope {scope}");
        let problem = Problem::new(StatusCode::FORBIDDEN, "token-refused", detail)
            .hint(format!("thingdb token new --name NAME --scope {scope}"));
        return Err(problem);
    }
    Ok((Some(Bearer::new(token, text, turn.share())), Some(turn)))
}

fn known(node: &Node, headers: &HeaderMap) -> Result<(Token, Zeroizing<String>), Problem> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        let detail = "this needs a token: Authorization: Bearer tdb_…";
        return Err(Problem::no_token(detail));
    };
    let text = value.to_str().ok().and_then(|text| {
        let (scheme, token) = text.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| Zeroizing::new(token.trim().to_owned()))
    });
    let Some(text) = text.filter(|text| !text.is_empty()) else {
        return Err(Problem::bad_token("the header is not Authorization: Bearer TOKEN"));
    };
    match node.db.check_token(&text) {
        Ok(token) => Ok((token, text)),
        Err(TokenRefusal::Malformed) => {
            Err(Problem::bad_token("the token is not complete or was mistyped").hint("copy it again, all of it"))
        }
        // Whether a token was ever known here is nobody's business but that of
        // who once had it: an expired one says so, a removed one does not.
        Err(refusal) => Err(Problem::refused(&refusal)),
    }
}
