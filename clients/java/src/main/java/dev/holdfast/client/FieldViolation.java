package dev.holdfast.client;

import java.io.Serializable;

/**
 * A field of a request that is wrong.
 *
 * @param field the name of the field
 * @param problem what is wrong with it
 * @serial exclude
 */
public record FieldViolation(String field, String problem) implements Serializable {}
