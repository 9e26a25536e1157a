//! A time-stamp authority on loopback: `openssl ts` behind a few lines of HTTP.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, CustomExtension, DistinguishedName, DnType, IsCa, KeyPair,
    date_time_ymd,
};

/// What the authority does with a query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Manner {
    /// It answers.
    Good,
    /// It stamps something else.
    OtherHash,
    /// It answers another query for the same.
    OtherNonce,
    /// It answers for the same without a nonce.
    NoNonce,
    /// It says no.
    Refuses,
    /// Bytes that are nothing.
    Garbage,
    /// 1 GB of nothing, if one reads it.
    Huge,
    /// It answers, as HTTP/1.0 does.
    Old,
}

/// Its files: the roots and keys are made anew for each.
pub(crate) struct Authority {
    pub(crate) dir: PathBuf,
    pub(crate) url: String,
    manner: Arc<Mutex<Manner>>,
    /// What is done while a query waits.
    meanwhile: Arc<Mutex<Option<Meanwhile>>>,
}

/// Something to do.
type Meanwhile = Box<dyn FnOnce() + Send>;

/// How the certificate of the signer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// As it has to be.
    Good,
    /// The purpose stands in it, and may be passed over.
    NotCritical,
    /// It is for servers, too.
    TwoPurposes,
    /// It is for anything.
    NoPurpose,
    /// It has run out.
    Expired,
}

const TIME_STAMPING: [u8; 10] = [6, 8, 0x2b, 6, 1, 5, 5, 7, 3, 8];
const SERVER_AUTH: [u8; 10] = [6, 8, 0x2b, 6, 1, 5, 5, 7, 3, 1];

/// Whether `openssl ts` is there.
pub(crate) fn is_to_be_had() -> bool {
    let there = Command::new("openssl").args(["ts", "-help"]).stdout(Stdio::null()).stderr(Stdio::null()).status();
    let there = there.is_ok_and(|status| status.success());
    if !there {
        super::world::skip("openssl is not there");
    }
    there
}

fn params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(2120, 1, 1);
    params
}

fn authority_params(name: &str) -> CertificateParams {
    let mut params = params(name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params
}

fn signer_params(kind: Kind) -> CertificateParams {
    let mut params = params("Clock Tower");
    let purposes = match kind {
        Kind::NoPurpose => return params,
        Kind::TwoPurposes => [TIME_STAMPING, SERVER_AUTH].concat(),
        _ => TIME_STAMPING.to_vec(),
    };
    if kind == Kind::Expired {
        params.not_after = date_time_ymd(2021, 1, 1);
    }
    let content = [&[0x30, purposes.len() as u8][..], &purposes].concat();
    let mut usage = CustomExtension::from_oid_content(&[2, 5, 29, 37], content);
    usage.set_criticality(kind != Kind::NotCritical);
    params.custom_extensions.push(usage);
    params
}

impl Authority {
    /// With a root, a certificate between, and that of the signer.
    pub(crate) fn new(dir: &Path, kind: Kind) -> Self {
        fs::create_dir_all(dir).unwrap();
        let key = || KeyPair::generate().unwrap();
        let root = CertifiedIssuer::self_signed(authority_params("Root of Time"), key()).unwrap();
        let middle = CertifiedIssuer::signed_by(authority_params("Middle of Time"), key(), &root).unwrap();
        let signer_key = key();
        let signer = signer_params(kind).signed_by(&signer_key, &middle).unwrap();
        for (name, text) in [
            ("root.pem", root.pem()),
            ("middle.pem", middle.pem()),
            ("signer.pem", signer.pem()),
            ("signer.key", signer_key.serialize_pem()),
            ("serial", "01\n".to_owned()),
        ] {
            fs::write(dir.join(name), text).unwrap();
        }
        Self::of(dir)
    }

    /// The same with a key of RSA, a root of its own, a hash for the certificate that is
    /// old, and a time with a fraction.
    pub(crate) fn of_rsa(dir: &Path) -> Self {
        fs::create_dir_all(dir).unwrap();
        let new = "req -x509 -newkey rsa:2048 -nodes -keyout signer.key -out signer.pem -days 9 -subj /CN=Old";
        let mut command = Command::new("openssl");
        command.args(new.split(' ')).args(["-addext", "extendedKeyUsage=critical,timeStamping"]);
        run(command.args(["-addext", "basicConstraints=CA:FALSE"]).current_dir(dir));
        fs::copy(dir.join("signer.pem"), dir.join("root.pem")).unwrap();
        fs::copy(dir.join("signer.pem"), dir.join("middle.pem")).unwrap();
        fs::write(dir.join("serial"), "01\n").unwrap();
        let more = "clock_precision_digits = 3\ness_cert_id_alg = sha1\n";
        fs::write(dir.join("more"), more).unwrap();
        Self::of(dir)
    }

    fn of(dir: &Path) -> Self {
        let more = fs::read_to_string(dir.join("more")).unwrap_or_else(|_| "ess_cert_id_alg = sha256\n".to_owned());
        let config = format!(
            "[tsa]\ndefault_tsa = it\n[it]\nserial = serial\ncrypto_device = builtin\nsigner_cert = signer.pem\n\
             certs = middle.pem\nsigner_key = signer.key\nsigner_digest = sha256\ndefault_policy = 1.2.3.4.1\n\
             digests = sha256\naccuracy = secs:2\ntsa_name = yes\n{more}"
        );
        fs::write(dir.join("tsa.cnf"), config).unwrap();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let url = format!("http://{}/tsr", listener.local_addr().unwrap());
        let manner = Arc::new(Mutex::new(Manner::Good));
        let (of, at) = (Arc::clone(&manner), dir.to_owned());
        let meanwhile = Arc::<Mutex<Option<Meanwhile>>>::default();
        let waiting = Arc::clone(&meanwhile);
        // It ends with the process.
        thread::spawn(move || {
            for stream in listener.incoming() {
                if let Some(act) = waiting.lock().unwrap().take() {
                    act();
                }
                // A client that goes is no fault of the authority.
                let _ = serve(&stream.unwrap(), &at, *of.lock().unwrap());
            }
        });
        Self { dir: dir.to_owned(), url, manner, meanwhile }
    }

    /// Before it answers the next query it does this.
    pub(crate) fn lets(&self, act: impl FnOnce() + Send + 'static) {
        *self.meanwhile.lock().unwrap() = Some(Box::new(act));
    }

    /// From now on it does so.
    pub(crate) fn behaves(&self, manner: Manner) {
        *self.manner.lock().unwrap() = manner;
    }

    /// The path of one of its files.
    pub(crate) fn file(&self, name: &str) -> String {
        self.dir.join(name).to_str().unwrap().to_owned()
    }
}

fn serve(mut stream: &TcpStream, dir: &Path, manner: Manner) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream);
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let line = line.trim_end().to_ascii_lowercase();
        if let Some(value) = line.strip_prefix("content-length: ") {
            length = value.parse().unwrap();
        }
        if line.is_empty() {
            break;
        }
    }
    let mut query = vec![0; length];
    reader.read_exact(&mut query)?;
    let answer = answer(dir, &query, manner);
    let size = if manner == Manner::Huge { 1 << 30 } else { answer.len() };
    if manner == Manner::Old {
        write!(stream, "HTTP/1.0 200 OK\r\nContent-Type: application/timestamp-reply\r\n\r\n")?;
        return stream.write_all(&answer);
    }
    write!(
        stream,
        "HTTP/1.1 200 OK\r\ncontent-type: application/timestamp-reply\r\ncontent-length: {size}\r\nconnection: close\r\n\r\n"
    )?;
    stream.write_all(&answer)?;
    if manner == Manner::Huge {
        while stream.write_all(&[0x30; 1 << 16]).is_ok() {}
    }
    Ok(())
}

fn answer(dir: &Path, query: &[u8], manner: Manner) -> Vec<u8> {
    fs::write(dir.join("query"), query).unwrap();
    let ask = |args: &[&str]| {
        run(Command::new("openssl")
            .args(["ts", "-query", "-sha256", "-cert", "-out", "query"])
            .args(args)
            .current_dir(dir));
    };
    // What was asked for ends the imprint, and stands before the nonce.
    let digest = || data_encoding::HEXLOWER.encode(&query[22..54]);
    match manner {
        Manner::Garbage => return b"it is a quarter past nine".to_vec(),
        Manner::Huge => return Vec::new(),
        // A request in no form.
        Manner::Refuses => fs::write(dir.join("query"), [0x30, 3, 2, 1, 1]).unwrap(),
        Manner::OtherHash => {
            fs::write(dir.join("other"), "other").unwrap();
            ask(&["-data", "other"]);
        }
        Manner::OtherNonce => ask(&["-digest", &digest()]),
        Manner::NoNonce => ask(&["-digest", &digest(), "-no_nonce"]),
        Manner::Good | Manner::Old => {}
    }
    let mut command = Command::new("openssl");
    command.args(["ts", "-reply", "-config", "tsa.cnf", "-queryfile", "query", "-out", "reply"]);
    run(command.current_dir(dir));
    fs::read(dir.join("reply")).unwrap()
}

/// Signs the content of a good token with the key of another authority, which `openssl
/// ts` would not do for every certificate.
pub(crate) fn forged(token: &str, by: &Authority) -> Vec<u8> {
    forged_at(token, by, None)
}

/// The same with another time, as `20200601000000Z`.
pub(crate) fn forged_at(token: &str, by: &Authority, time: Option<&str>) -> Vec<u8> {
    let dir = &by.dir;
    let content = ["cms", "-verify", "-noverify", "-inform", "DER", "-in", token, "-out", "content"];
    run(Command::new("openssl").args(content).current_dir(dir));
    if let Some(time) = time {
        let mut content = fs::read(dir.join("content")).unwrap();
        // A GeneralizedTime of 15 bytes.
        let at = content.windows(2).position(|tag| tag == [0x18, 15]).unwrap() + 2;
        content[at..at + 15].copy_from_slice(time.as_bytes());
        fs::write(dir.join("content"), content).unwrap();
    }
    let mut sign = Command::new("openssl");
    sign.args(["cms", "-sign", "-binary", "-nodetach", "-cades", "-md", "sha256", "-in", "content", "-outform", "DER"])
        .args(["-econtent_type", "1.2.840.113549.1.9.16.1.4", "-signer", "signer.pem", "-inkey", "signer.key"])
        .args(["-certfile", "middle.pem", "-out", "forged"]);
    run(sign.current_dir(dir));
    fs::read(dir.join("forged")).unwrap()
}

/// What it says, if it went well.
pub(crate) fn run(command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}
