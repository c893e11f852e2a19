//! Reading JSON piece by piece from its text. A tree of values takes up to 40 times the memory of its text, and a
//! request may have 2 MiB.

use std::{fmt, io, iter, mem};

use serde::de::{self, DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Error, Map, Number, Value, value::RawValue};

use super::fields::number_text;

/// The members of a map: names and texts, in the order in which they were first met; the last of equal names counts.
pub(super) struct Members<'a> {
    pub(super) members: Vec<(String, &'a RawValue)>,
    /// How many came after the limit was reached.
    pub(super) excess: usize,
}

/// Reads the members of a map, at most `limit` of them.
pub(super) fn members(map: &str, limit: usize) -> Result<Members<'_>, Error> {
    let mut json = serde_json::Deserializer::from_str(map);
    let members = json.deserialize_map(MembersUpTo(limit))?;
    json.end()?;
    Ok(members)
}

/// Reads the items of a list, at most `limit` of them; and how many there are.
pub(super) fn items(list: &str, limit: usize) -> Result<(Vec<&RawValue>, usize), Error> {
    let mut json = serde_json::Deserializer::from_str(list);
    let items = json.deserialize_seq(ItemsUpTo(limit))?;
    json.end()?;
    Ok(items)
}

/// A scalar as it is; of a list or a map only its kind, empty.
pub(super) fn shallow(value: &RawValue) -> Result<Value, Error> {
    match value.get().as_bytes().first() {
        Some(b'[') => Ok(Value::Array(Vec::new())),
        Some(b'{') => Ok(Value::Object(Map::new())),
        _ => serde_json::from_str(value.get()),
    }
}

struct MembersUpTo(usize);

impl<'de> Visitor<'de> for MembersUpTo {
    type Value = Members<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let (mut members, mut excess) = (Vec::<(String, &RawValue)>::new(), 0);
        while let Some((name, value)) = map.next_entry::<String, &RawValue>()? {
            let room = members.len() < self.0;
            match members.iter_mut().find(|(known, _)| *known == name) {
                // Beyond the limit nobody looks at names any more.
                _ if excess > 0 => excess += 1,
                Some(member) => member.1 = value,
                None if room => members.push((name, value)),
                None => excess += 1,
            }
        }
        Ok(Members { members, excess })
    }
}

struct ItemsUpTo(usize);

impl<'de> Visitor<'de> for ItemsUpTo {
    type Value = (Vec<&'de RawValue>, usize);

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let (mut items, mut count) = (Vec::new(), 0);
        while let Some(item) = list.next_element::<&RawValue>()? {
            count += 1;
            if count <= self.0 {
                items.push(item);
            }
        }
        Ok((items, count))
    }
}

/// How canonical text spells scalars.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Scalars {
    AsGiven,
    /// `5` and `"5"` are the same input: Argo makes texts of what it substitutes.
    AsTexts,
}

/// Lists and maps in each other. What Argo sends has less than ten; with more, a map's values would be gone over again
/// and again, see [`Canonical`].
const MAX_DEPTH: usize = 64;

/// Writes a value's canonical text: compact JSON with the keys of every map sorted, the last of equal ones kept.
pub(super) fn write_canonical(json: &str, scalars: Scalars, to: &mut impl io::Write) -> Result<(), Error> {
    let mut value = serde_json::Deserializer::from_str(json);
    Canonical { scalars, depth: MAX_DEPTH, json, to }.deserialize(&mut value)?;
    value.end()
}

/// Writes the value it is given: lists as they come, maps in the order of their keys. Of a map it keeps where its
/// members stand in the text, not what they are, and reads each value when its turn has come.
struct Canonical<'t, W> {
    scalars: Scalars,
    depth: usize,
    /// Where the value is from.
    json: &'t str,
    to: &'t mut W,
}

impl<W: io::Write> Canonical<'_, W> {
    fn deeper<E: de::Error>(&mut self) -> Result<Canonical<'_, W>, E> {
        let depth = self.depth.checked_sub(1).ok_or_else(|| E::custom(format!("more than {MAX_DEPTH} levels")))?;
        Ok(Canonical { scalars: self.scalars, depth, json: self.json, to: self.to })
    }

    fn put<E: de::Error>(&mut self, text: &str) -> Result<(), E> {
        self.to.write_all(text.as_bytes()).map_err(E::custom)
    }

    fn string<E: de::Error>(&mut self, text: &str) -> Result<(), E> {
        serde_json::to_writer(&mut *self.to, text).map_err(E::custom)
    }

    fn scalar<E: de::Error>(mut self, text: &str) -> Result<(), E> {
        match self.scalars {
            Scalars::AsTexts => self.string(text),
            Scalars::AsGiven => self.put(text),
        }
    }

    fn number<E: de::Error>(self, number: &Number) -> Result<(), E> {
        let text = match self.scalars {
            Scalars::AsTexts => number_text(number),
            Scalars::AsGiven => number.to_string(),
        };
        self.scalar(&text)
    }
}

impl<'de, W: io::Write> DeserializeSeed<'de> for Canonical<'_, W> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        json.deserialize_any(self)
    }
}

impl<'de, W: io::Write> Visitor<'de> for Canonical<'_, W> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E: de::Error>(mut self) -> Result<(), E> {
        self.put("null")
    }

    fn visit_bool<E: de::Error>(self, flag: bool) -> Result<(), E> {
        self.scalar(if flag { "true" } else { "false" })
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<(), E> {
        self.number(&number.into())
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<(), E> {
        self.number(&number.into())
    }

    fn visit_f64<E: de::Error>(self, number: f64) -> Result<(), E> {
        match Number::from_f64(number) {
            Some(number) => self.number(&number),
            None => self.visit_unit(),
        }
    }

    fn visit_str<E: de::Error>(mut self, text: &str) -> Result<(), E> {
        self.string(text)
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut list: A) -> Result<(), A::Error> {
        let mut comma = Comma::default();
        self.put("[")?;
        while list.next_element_seed(Item { canonical: self.deeper()?, comma: &mut comma })?.is_some() {}
        self.put("]")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
        let mut places = Places { json: self.json, decoded: String::new(), members: Vec::new() };
        while let Some(key) = map.next_key_seed(&mut places)? {
            let value = places.place(map.next_value::<&RawValue>()?.get());
            places.members.push((key, value));
        }
        let mut comma = Comma::default();
        self.put("{")?;
        for (key, value) in places.in_order() {
            self.put(comma.next())?;
            self.string(key)?;
            self.put(":")?;
            let mut json = serde_json::Deserializer::from_str(value);
            Canonical { json: value, ..self.deeper()? }.deserialize(&mut json).map_err(A::Error::custom)?;
        }
        self.put("}")
    }
}

/// Nothing before the first item, a comma before every other.
#[derive(Default)]
struct Comma {
    is_due: bool,
}

impl Comma {
    fn next(&mut self) -> &'static str {
        if mem::replace(&mut self.is_due, true) { "," } else { "" }
    }
}

/// An item of a list, with the comma before it.
struct Item<'t, W> {
    canonical: Canonical<'t, W>,
    comma: &'t mut Comma,
}

impl<'de, W: io::Write> DeserializeSeed<'de> for Item<'_, W> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(mut self, json: D) -> Result<(), D::Error> {
        self.canonical.put(self.comma.next())?;
        self.canonical.deserialize(json)
    }
}

/// From where to where, in [`Places::json`] or behind its end in [`Places::decoded`]. A request has 2 MiB.
type Place = (u32, u32);

/// Where the keys and values of a map stand.
struct Places<'de> {
    json: &'de str,
    /// Keys with escapes, as they are meant.
    decoded: String,
    members: Vec<(Place, Place)>,
}

impl<'de> Places<'de> {
    /// Where a part of the text stands in it.
    fn place(&self, part: &str) -> Place {
        let start = (part.as_ptr() as usize).saturating_sub(self.json.as_ptr() as usize);
        spanning(start, part.len())
    }

    fn at(&self, (start, end): Place) -> &str {
        let (start, end) = (start as usize, end as usize);
        match start.checked_sub(self.json.len()) {
            None => self.json.get(start..end).unwrap_or_default(),
            Some(start) => self.decoded.get(start..end - self.json.len()).unwrap_or_default(),
        }
    }

    /// Keys and values in the order of keys; of equal keys, the last.
    fn in_order(&mut self) -> impl Iterator<Item = (&str, &str)> {
        let mut members = mem::take(&mut self.members);
        let places = &*self;
        if !members.is_sorted_by(|(a, _), (b, _)| places.at(*a) < places.at(*b)) {
            members.sort_unstable_by(|(a, x), (b, y)| places.at(*a).cmp(places.at(*b)).then(x.cmp(y)));
        }
        let mut members = members.into_iter().peekable();
        iter::from_fn(move || {
            let (mut key, mut value) = members.next()?;
            while let Some((again, later)) = members.next_if(|(next, _)| places.at(*next) == places.at(key)) {
                (key, value) = (again, later);
            }
            Some((places.at(key), places.at(value)))
        })
    }
}

fn spanning(start: usize, length: usize) -> Place {
    let end = u32::try_from(start + length).unwrap_or(u32::MAX);
    (u32::try_from(start).unwrap_or(u32::MAX), end)
}

impl<'de> DeserializeSeed<'de> for &mut Places<'_> {
    type Value = Place;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Place, D::Error> {
        json.deserialize_str(self)
    }
}

/// Keys.
impl<'de> Visitor<'de> for &mut Places<'_> {
    type Value = Place;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_borrowed_str<E>(self, key: &'de str) -> Result<Place, E> {
        Ok(self.place(key))
    }

    fn visit_str<E>(self, key: &str) -> Result<Place, E> {
        let place = spanning(self.json.len() + self.decoded.len(), key.len());
        self.decoded.push_str(key);
        Ok(place)
    }
}
