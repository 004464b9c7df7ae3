// CRC-32C (Castagnoli), eight bytes at a time. Node.js has only CRC-32.

const TABLES: readonly Uint32Array[] = tables();

function tables(): Uint32Array[] {
  const made = Array.from({ length: 8 }, () => new Uint32Array(256));
  const [first] = made as [Uint32Array];
  for (let byte = 0; byte < 256; byte += 1) {
    let crc = byte;
    for (let bit = 0; bit < 8; bit += 1) {
      crc = crc & 1 ? (crc >>> 1) ^ 0x82f63b78 : crc >>> 1;
    }
    first[byte] = crc;
  }
  for (let index = 1; index < 8; index += 1) {
    for (let byte = 0; byte < 256; byte += 1) {
      const before = made[index - 1]?.[byte] ?? 0;
      (made[index] as Uint32Array)[byte] = (before >>> 8) ^ (first[before & 0xff] as number);
    }
  }
  return made;
}

/** Return the CRC-32C of bytes. */
export function crc32c(data: Uint8Array): number {
  const [t0, t1, t2, t3, t4, t5, t6, t7] = TABLES as [
    Uint32Array,
    Uint32Array,
    Uint32Array,
    Uint32Array,
    Uint32Array,
    Uint32Array,
    Uint32Array,
    Uint32Array,
  ];
  const length = data.length;
  const whole = length - (length % 8);
  let crc = -1;
  let at = 0;
  for (; at < whole; at += 8) {
    crc ^= data[at]! | (data[at + 1]! << 8) | (data[at + 2]! << 16) | (data[at + 3]! << 24);
    crc =
      t7[crc & 0xff]! ^
      t6[(crc >>> 8) & 0xff]! ^
      t5[(crc >>> 16) & 0xff]! ^
      t4[crc >>> 24]! ^
      t3[data[at + 4]!]! ^
      t2[data[at + 5]!]! ^
      t1[data[at + 6]!]! ^
      t0[data[at + 7]!]!;
  }
  for (; at < length; at += 1) {
    crc = (crc >>> 8) ^ t0[(crc ^ data[at]!) & 0xff]!;
  }
  return ~crc >>> 0;
}
