//! Tokens of the peer server.

use super::Db;
use crate::access::token_text::TokenText;
use crate::access::tokens::{Token, TokenRefusal, TokenRequest};
use crate::error::Result;

/// Tokens of the peer server.
impl Db {
    /// Makes a token. Its text is in what is returned and nowhere else.
    ///
    /// # Errors
    /// [`Error::NoSuchPeer`](crate::Error::NoSuchPeer) if it is for a peer that is
    /// not known, [`Error::TokenExists`](crate::Error::TokenExists) if one of this
    /// name is there, [`Error::Invalid`](crate::Error::Invalid) if the name is
    /// empty or longer than 128 bytes,
    /// [`Error::TooManyTokens`](crate::Error::TooManyTokens) beyond
    /// [`MAX_TOKENS`](crate::MAX_TOKENS), [`Error::Keyring`](crate::Error::Keyring)
    /// if the keyring cannot be written.
    ///
    /// ```
    /// use thingdb::{Scope, TokenRefusal, TokenRequest};
    /// # let tmp = tempfile::tempdir()?;
    /// # let passphrase = thingdb::Passphrase::new("correct horse battery");
    /// # let db = thingdb::Options::new().kdf(thingdb::KdfChoice::weakest()).create(tmp.path().join("db"), &passphrase)?;
    /// let (_, text) = db.new_token(&TokenRequest::new("press-7").scope(Scope::Import))?;
    /// let token = db.check_token(text.as_str())?;
    /// assert!(token.allows(Scope::Import) && !token.allows(Scope::Read));
    /// assert!(db.remove_token("press-7")?);
    /// assert_eq!(db.check_token(text.as_str()), Err(TokenRefusal::Unknown));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn new_token(&self, request: &TokenRequest) -> Result<(Token, TokenText)> {
        self.node.new_token(request)
    }

    /// The tokens, in the order in which they were made.
    #[must_use]
    pub fn tokens(&self) -> Vec<Token> {
        self.node.tokens.all()
    }

    /// Removes the token with this name: it is refused from now on. Whether
    /// there was one.
    ///
    /// # Errors
    /// [`Error::Keyring`](crate::Error::Keyring) if the keyring cannot be written;
    /// the token is still good then.
    pub fn remove_token(&self, name: &str) -> Result<bool> {
        self.node.remove_token(name)
    }

    /// The token with this text, and notes that it was used. How long it takes
    /// does not tell how much of the text is right.
    ///
    /// # Errors
    /// A [`TokenRefusal`].
    pub fn check_token(&self, text: &str) -> std::result::Result<Token, TokenRefusal> {
        self.node.check_token(text)
    }
}
